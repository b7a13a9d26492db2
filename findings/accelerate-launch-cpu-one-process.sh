#!/bin/sh
# accelerate 1.15.0: `accelerate launch --cpu --num_processes 2` starts one process, without a word.
#
# Guessed: two processes on the processor, joined by gloo, as --num_processes says; or an error that asks for another
# option.
# Seen: the script runs once, with num_processes 1. Of `--multi_gpu --num_processes 2`, on a machine without a GPU, it
# runs twice, and Accelerator(cpu=True) joins both to one group of two by gloo.
# Matters for whoever spreads a training over the cores or boards of a machine without a GPU: the command for it says
# "multi_gpu", and the one that says "cpu" trains on one process for twice the time that was planned.
#
# Output seen (x86-64 without a GPU, torch 2.13.0+cpu):
#   --cpu --num_processes 2: 1 run, num_processes 1
#   --multi_gpu --num_processes 2: 2 runs, num_processes 2 2, backend gloo
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q accelerate==1.15.0
cat >"$folder/script.py" <<'PYTHON'
from accelerate import Accelerator

state = Accelerator(cpu=True)
print(f"RUN {state.num_processes} {state.state.backend}", flush=True)
if state.num_processes > 1:
    state.end_training()
PYTHON
launch() { "$folder/venv/bin/python" -m accelerate.commands.launch "$@" "$folder/script.py" 2>"$folder/log" | grep '^RUN' || :; }
HF_HOME=$folder/home launch --cpu --num_processes 2 --mixed_precision no --num_machines 1 --dynamo_backend no >"$folder/cpu"
HF_HOME=$folder/home launch --multi_gpu --num_processes 2 --num_cpu_threads_per_process 1 --mixed_precision no \
  --num_machines 1 --dynamo_backend no >"$folder/multi"
echo "accelerate $("$folder/venv/bin/python" -c 'import accelerate; print(accelerate.__version__)')"
echo "--cpu --num_processes 2:"; cat "$folder/cpu"
echo "--multi_gpu --num_processes 2:"; cat "$folder/multi"
[ "$(cat "$folder/cpu" | cut -d' ' -f1,2)" = "RUN 1" ] && [ "$(grep -c '^RUN 2 gloo' "$folder/multi")" = 2 ]
