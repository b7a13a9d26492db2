#!/bin/sh
# torch 2.13.0: range_constraints of an exported program is not the range of inputs that it takes.
#
# Guessed: with Dim.AUTO, range_constraints states what the program was specialised to, so that a caller may read the
# shortest and the longest input from it.
# Seen: for a program that puts every row beside the next one's, exported with Dim.AUTO(min=1, max=40), the range is stated
# as 2 to 40. The program's own guard, length - 1 != 1, refuses 2, and takes 1, which is outside of the range. The hole is
# told where the bounds are asked for: Dim("L", min=1, max=40) is refused with that guard by its name.
# Matters for whoever sizes or pads inputs by range_constraints: of encoders that mix neighbours (MobileBERT), a text of two
# tokens fails when it is run, not when it is exported.
#
# Output seen (x86-64, torch 2.13.0+cpu):
#   stated 2 to 40; of 1, 2, 3 and 40 it takes [1, 3, 40]; 2: Guard failed: -1 + x.size()[1] != 1
#   Dim("L", min=1, max=40): UserError: Constraints violated (L)!
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { status=$?; tail -n 5 "$folder/log" >&2; exit $status; }
import sys

import torch
from torch.export import Dim, export


class Neighbours(torch.nn.Module):
    """x [1, L, 4] -> [1, L, 8]: every row beside the next one, zeros behind the last."""

    def forward(self, x):
        following = torch.nn.functional.pad(x[:, 1:], [0, 0, 0, 1, 0, 0])
        return torch.cat([x, following], 2)


example = (torch.ones(1, 8, 4),)
program = export(Neighbours(), example, dynamic_shapes=({1: Dim.AUTO(min=1, max=40)},))
(stated,) = program.range_constraints.values()
run, taken, refusals = program.module(), [], []
for length in (1, 2, 3, 40):
    try:
        run(torch.ones(1, length, 4))
        taken.append(length)
    except AssertionError as error:
        refusals.append(f"{length}: {str(error).splitlines()[0]}")
try:
    export(Neighbours(), example, dynamic_shapes=({1: Dim("L", min=1, max=40)},))
    bounded = "exported"
except torch._dynamo.exc.UserError as error:
    bounded = f"UserError: {str(error).split('!')[0]}!"
print("torch", torch.__version__)
print(f"stated {stated.lower} to {stated.upper}; of 1, 2, 3 and 40 it takes {taken};", "; ".join(refusals))
print('Dim("L", min=1, max=40):', bounded)
as_described = (stated.lower, taken) == (2, [1, 3, 40]) and bounded.startswith("UserError: Constraints violated")
sys.exit(0 if as_described else 1)
PYTHON
