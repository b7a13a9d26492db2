#!/bin/sh
# transformers 5.24.0: under WANDB_MODE=offline, importing the Trainer prints a line on stdout.
#
# Guessed: nothing is printed by an import, or it goes to the library's logger, which writes to stderr and can be silenced.
# Seen: "[INFO] Running in WANDB offline mode" on stdout, whatever the verbosity, though no training asks for wandb.
# Matters for programs whose stdout is data (a JSON document, a table): one line of text stands before it in the
# environment of people who work with wandb.
#
# Output seen (torch 2.13.0+cpu, wandb not installed):
#   stdout, WANDB_MODE unset: ''
#   stdout, WANDB_MODE=offline: '[INFO] Running in WANDB offline mode'
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q transformers==5.24.0 accelerate==1.15.0
said() {
  env "$@" TRANSFORMERS_VERBOSITY=error HF_HOME="$folder/home" "$folder/venv/bin/python" -W ignore \
    -c "from transformers import Trainer" 2>"$folder/log"
}
plain=$(said -u WANDB_MODE)
offline=$(said WANDB_MODE=offline)
echo "transformers 5.24.0"
echo "stdout, WANDB_MODE unset: '$plain'"
echo "stdout, WANDB_MODE=offline: '$offline'"
[ -z "$plain" ] && case $offline in *"offline mode"*) ;; *) exit 1 ;; esac
