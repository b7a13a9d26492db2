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
#   --cpu --num_processes 2:
#   num_processes 1, backend None
#   --multi_gpu --num_processes 2:
#   num_processes 2, backend gloo
#   num_processes 2, backend gloo
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q accelerate==1.15.0
cat >"$folder/script.py" <<'PYTHON'
import os
import sys

from accelerate import Accelerator

state = Accelerator(cpu=True)
with open(os.path.join(sys.argv[1], f"run-{os.getpid()}"), "w") as file:
    file.write(f"num_processes {state.num_processes}, backend {state.state.backend}\n")
state.wait_for_everyone()
state.end_training()
PYTHON
launch() { # what every run of the script wrote
  mkdir "$folder/$1"
  HF_HOME=$folder/home "$folder/venv/bin/python" -m accelerate.commands.launch "$1" --num_processes 2 \
    --num_cpu_threads_per_process 1 --mixed_precision no --num_machines 1 --dynamo_backend no \
    "$folder/script.py" "$folder/$1" >"$folder/log" 2>&1 || tail -n 5 "$folder/log" >&2
  cat "$folder/$1"/run-*
}
cpu=$(launch --cpu)
multi=$(launch --multi_gpu)
"$folder/venv/bin/python" -c "import accelerate; print('accelerate', accelerate.__version__)"
echo "--cpu --num_processes 2:"
echo "$cpu"
echo "--multi_gpu --num_processes 2:"
echo "$multi"
[ "$cpu" = "num_processes 1, backend None" ] && [ "$(echo "$multi" | grep -c 'num_processes 2, backend gloo')" = 2 ]
