#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes planish-nano from nothing: data, tokenizer, pretraining, SFT, checkpoint average, evaluation. Every stage resumes
# where it stopped, however it was stopped, and a training stage pauses by itself after STAGE_MINUTES: call it again.
#
#   recipes/planish_nano/run.sh [WORK]        WORK: where data and runs go, runs/planish_nano by default
#
# PLANISH         the program (build/planish)
# STAGE_MINUTES   longest training in one call (75)
# SCALE           percent of the data and the steps (100); 1 is the rehearsal of the slow tests
# DOCS            folder with train.jsonl of recipes/hybrid20m/corpus.py; made there when missing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
planish=${PLANISH:-$root/build/planish}
work=${1:-$root/runs/planish_nano}
minutes=${STAGE_MINUTES:-75}
scale=${SCALE:-100}
docs=${DOCS:-$work/docs}
mkdir -p "$work/data"
work=$(cd "$work" && pwd)
data=$work/data
template=$here/chat_template.jinja
deadline=$((SECONDS + minutes * 60))

say() { echo "planish-nano: $*" >&2; }
# make FILE COMMAND...: runs the command, which writes its last argument FILE, unless it is there.
make_file() {
  local file=$1
  shift
  [ -e "$file" ] && return
  say "making ${file#"$work"/}"
  "$@"
}
problems() {  # FILE SEED COUNT ARGS...
  local file=$1 seed=$2 count=$(($3 * scale / 100))
  shift 3
  make_file "$file" "$planish" data problems -q --seed "$seed" --count "$count" -o "$file" "$@"
}
tokens() { make_file "$2" "$planish" tokenize -q "$1" --tokenizer "$data/tokenizer" -o "$2"; }
chat_tokens() {
  make_file "$2" "$planish" data sft tokenize -q "$1" -m "$data/tokenizer/tokenizer.json" --template "$template" -o "$2"
}
render() { "$planish" template -q --template "$template" --jsonl <"$1" >"$2.part" && mv "$2.part" "$2"; }

# 1. Data. Seeds below 1000 are training; `--split train` keeps the frames and operands of the tests out of all of it.
if [ ! -e "$docs/train.jsonl" ]; then
  say "documentation of Debian packages"
  python3 "$root/recipes/hybrid20m/corpus.py" "$work/packages" "$docs"
fi
problems "$data/text_easy.jsonl" 1 150000 --form text --mix easy
problems "$data/text.jsonl" 2 350000 --form text --mix full
problems "$data/drills.jsonl" 3 250000 --kind drills
problems "$data/chat_easy.jsonl" 4 50000 --form chat --mix easy
problems "$data/chat.jsonl" 5 150000 --form chat --mix full
problems "$data/tools.jsonl" 6 12000 --kind tools
problems "$data/talk.jsonl" 7 12000 --kind talk
problems "$data/sft_chat.jsonl" 11 220000 --form chat --mix full
problems "$data/sft_to_cut.jsonl" 12 60000 --form chat --mix full --thinking on
problems "$data/sft_tools.jsonl" 13 16000 --kind tools
problems "$data/sft_talk.jsonl" 14 12000 --kind talk
problems "$data/chat_valid.jsonl" 15 1000 --form chat --mix full --split test

# 2. Tokenizer: 2,048 tokens, single digits, role marks as special tokens, tags as text tokens.
if [ ! -e "$data/tokenizer/tokenizer.json" ]; then
  say "training the tokenizer"
  for kind in tools talk; do render "$data/$kind.jsonl" "$data/$kind.text.jsonl"; done
  head -n 100000 "$data/text.jsonl" >"$data/bpe_text.jsonl"
  head -n 10000 "$data/drills.jsonl" >"$data/bpe_drills.jsonl"
  head -n 3000 "$data/tools.text.jsonl" >"$data/bpe_tools.jsonl"
  head -n 400 "$docs/train.jsonl" >"$data/bpe_docs.jsonl"
  "$planish" tokenize -q "$data"/bpe_{text,drills,tools,docs}.jsonl --train-bpe 2048 --pretokenizer qwen2 \
    --min-frequency 0 --special-tokens '<|endoftext|>,<|system|>,<|user|>,<|assistant|>,<|tool|>,<|end|>' \
    --text-tokens '<think>,</think>,<TOOLCALL>,</TOOLCALL>,<AVAILABLE_TOOLS>,</AVAILABLE_TOOLS>,<TOOL_RESPONSE>,</TOOL_RESPONSE>' \
    --chat-template "$template" -o "$data/tokenizer.part"
  rm -f "$data"/bpe_*.jsonl "$data"/*.text.jsonl
  mv "$data/tokenizer.part" "$data/tokenizer"
fi
for name in text_easy text drills; do tokens "$data/$name.jsonl" "$data/$name.tokens"; done
tokens "$docs/train.jsonl" "$data/docs.tokens"
make_file "$data/sft_cut.jsonl" "$planish" data sft truncate-think -q "$data/sft_to_cut.jsonl" --fraction 1 --min 8 \
  --max 160 --template "$template" -m "$data/tokenizer/tokenizer.json" -o "$data/sft_cut.jsonl"
for name in chat_easy chat tools talk sft_chat sft_cut sft_tools sft_talk chat_valid; do
  chat_tokens "$data/$name.jsonl" "$data/$name.tokens"
done

# 3. Training. The recipes name data/... relative to themselves, so they are copied beside the data.
cp "$here"/{config.json,pretrain.toml,sft.toml} "$work/"
step_of() { printf 'step-%08d' $(($1 * scale / 100)); }
train() {  # NAME VERB SCHEDULE STOP ARGS...: up to step STOP of a schedule of so many steps
  local name=$1 verb=$2 steps=$(($3 * scale / 100)) stop=$(($4 * scale / 100)) left=$((deadline - SECONDS))
  local last
  last=$work/$name/checkpoints/$(step_of "$4")
  shift 4
  [ -e "$last/state.json" ] && return
  [ "$left" -gt 0 ] || { say "$name: paused before its start; call again"; exit 0; }
  local status=0
  timeout --signal=TERM "$left" "$planish" "$verb" "$work/$name.toml" -o "$work/$name" --set schedule.steps=$steps \
    --steps $stop "$@" || status=$?
  [ $status -eq 0 ] || [ $status -eq 124 ] || exit $status
  [ -e "$last/state.json" ] || { say "$name: paused; call again to go on"; exit 0; }
}
scaled() { echo $(($1 * scale < 100 ? 1 : $1 * scale / 100)); }
train pretrain pretrain 6000 3750 --set schedule.warmup_steps=$(scaled 100) --set schedule.decay_steps=$(scaled 900)
train sft sft 8000 8000 --set schedule.warmup_steps=$(scaled 100) --set checkpoint.every_steps=$(scaled 500) \
  --set checkpoint.keep_every_steps=$(scaled 500) --set "model.init=$work/pretrain/checkpoints/$(step_of 3750)"

# 4. The mean of three checkpoints at fixed steps (a pause leaves others), in bf16; transformers clamps dt by time_step_min, the
# model never did.
if [ ! -e "$work/planish-nano/config.json" ]; then
  "$planish" merge -q "$work/sft/checkpoints/"{"$(step_of 7000)","$(step_of 7500)","$(step_of 8000)"} --type bf16 \
    -o "$work/planish-nano.part"
  sed -i 's/"time_step_min": [0-9.e-]*/"time_step_min": 0.0/' "$work/planish-nano.part/config.json"
  cp "$template" "$work/planish-nano.part/chat_template.jinja"
  printf '{\n  "bos_token_id": 0,\n  "eos_token_id": [5, 0],\n  "temperature": 0.6,\n  "top_p": 0.95,\n  "do_sample": true\n}\n' \
    >"$work/planish-nano.part/generation_config.json"
  mv "$work/planish-nano.part" "$work/planish-nano"
fi
say "the model is in $work/planish-nano"
