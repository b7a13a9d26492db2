#!/bin/sh
# What `make demo` shows, command by command. What was trained is kept: a second run starts at the compiler.
set -eu
questions="$DEMO/data/trec"

show() { printf '\n\033[1m$ %s\033[0m\n' "$(echo "$*" | sed "s#$BIN/##g")"; "$@"; }

if [ ! -f "$DEMO/trec.pt" ]; then
  # All six layers: with three, int8 keeps eager's label on 98.7% of the questions, and the gate is 99%.
  show "$BIN/spartanc" train --backbone "$DEMO/data/encoder" --epochs 2 --max-length 64 \
    --data "$questions/train.jsonl" --eval "$questions/dev.jsonl" --out "$DEMO/trec.pt"
fi

# Each in its target's own arithmetic: fp32 here, int8 on the board.
for target in host rpi4; do
  rm -rf "$DEMO/$target"
  show "$BIN/spartanc" compile "$DEMO/trec.pt" --target $target --max-length 64 --out "$DEMO/$target"
done

for device in local qemu; do
  bundle=$([ $device = qemu ] && echo "$DEMO/rpi4" || echo "$DEMO/host")
  show "$BIN/spartanc" run "$bundle" --device $device --text "Who wrote the first compiler ?"
  show "$BIN/spartanc" run "$bundle" --device $device --text "How far is it from Denver to Aspen ?"
  show "$BIN/spartanc" run "$bundle" --device $device --text "What does NASA stand for ?"
done

show "$BIN/spartanc" verify "$DEMO/host" --model "$DEMO/trec.pt" --data "$questions/test.jsonl"
show "$BIN/spartanc" verify "$DEMO/rpi4" --model "$DEMO/trec.pt" --data "$questions/test.jsonl" \
  --limit 50 --device qemu

# A second task on the same encoder, and both as one fleet: one program, a file for each task.
if [ ! -f "$DEMO/sms.pt" ]; then
  show "$BIN/spartanc" train --backbone "$DEMO/data/encoder" --epochs 2 --max-length 64 \
    --data "$DEMO/few/sms/train.jsonl" --eval "$DEMO/few/sms/dev.jsonl" --out "$DEMO/sms.pt"
fi
rm -rf "$DEMO/sms" "$DEMO/fleet"
show "$BIN/spartanc" compile "$DEMO/sms.pt" --target rpi4 --max-length 64 --out "$DEMO/sms"
show "$BIN/spartanc" compile "$DEMO/trec.pt" "$DEMO/sms.pt" --shared-backbone --target host \
  --quantize int8 --max-length 64 --out "$DEMO/fleet"
show "$BIN/python" benchmarks/demo_fleet.py "$DEMO/fleet" "How far is it from Denver to Aspen ?" \
  "You have won a free ticket, text WIN to 80082 now"

show "$BIN/spartanc" bench "$DEMO/host" --length 16 --seconds 10 --html "$DEMO/report.html"
