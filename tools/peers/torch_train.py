#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same training run by PyTorch, to compare `planish pretrain` with: learning, speed and memory.

    pip install torch==2.15.0 transformers==5.23.0 numpy     (the versions compared with)
    python3 torch_train.py MODEL --train FILE --valid FILE --out RUN [options]

MODEL is a Hugging Face folder with the initial weights, e.g. of `planish init CONFIG --type f32 -o MODEL`; FILE a token file
of `planish tokenize`. The model class is that of transformers (NemotronH, Llama, ...), on the CPU, in f32 or under bf16
autocast with f32 parameters. Everything else is what a recipe with `mode = "stream"`, `doc_reset = false` and no
shuffling says:
  data       row i is tokens [i L, (i + 1) L), each predicting its successor; rows in file order; no resets, no masks
  loss       cross-entropy summed over the batch, divided once by its number of tokens
  optimizer  AdamW, betas 0.9 0.95, eps 1e-8, decay 0.1 on tensors of two and more dimensions, norm clipped at 1
  schedule   WSD in tokens: a step of the warm-up has the rate at its end, a later one that at its beginning
NemotronH's time step is clamped to the config's `time_step_limit` as NVIDIA's code does; transformers 5.23 clamps it to
[time_step_min, inf) instead, which is another function.

Writes RUN/log.jsonl in the format of our own runs (src/train/run_log.h; `planish report` reads it), RUN/model (the trained
weights) and, every few minutes, RUN/state.pt, from which the same command goes on. `rss` is the peak of the process.
"""
import argparse
import json
import math
import os
import resource
import struct
import sys
import time

import numpy
import torch
import transformers

VALID_ROWS_A_PASS = 4


class TokenFile:
    """Ids and source sizes of a token file (the layout stands in src/data/token_file.h)."""

    def __init__(self, path):
        data = numpy.memmap(path, dtype=numpy.uint8, mode='r')
        magic, version, id_bytes = struct.unpack('<8sII', data[:16].tobytes())
        tokens, documents, self.source_bytes = struct.unpack('<QQQ', data[-64:-40].tobytes())
        if magic != b'PLTOKENS' or version != 1 or data[-8:].tobytes() != b'PLTOKEND':
            sys.exit(f'{path} is no token file of version 1')
        aligned = lambda offset: (offset + 63) // 64 * 64
        begin, end = 128, 128 + tokens * id_bytes
        self.ids = data[begin:end].view(numpy.uint16 if id_bytes == 2 else numpy.uint32)
        begin, end = aligned(end), aligned(end) + 8 * (documents + 1)
        self.starts = data[begin:end].view(numpy.uint64)
        begin, end = aligned(end), aligned(end) + 8 * (documents + 1)
        self.sources = data[begin:end].view(numpy.uint64)

    def batch(self, first, count, length):
        """Inputs and targets of rows [first, first + count), [count, length] each; a last row may be shorter."""
        cut = self.ids[first * length:(first + count) * length + 1].astype(numpy.int64)
        length = min(length, len(cut) - 1)
        return (torch.from_numpy(cut[:-1].reshape(-1, length).copy()),
                torch.from_numpy(cut[1:].reshape(-1, length).copy()))

    def bytes_before(self, token):
        """Bytes of text before a token, those of a document spread evenly over its tokens."""
        return float(numpy.interp(token, self.starts.astype(float), self.sources.astype(float)))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('model', help='Hugging Face folder of the initial weights')
    add('--train', help='token file; without it only the validation is done')
    add('--valid', help='token file')
    add('--out', required=True, help='folder of the run')
    add('--precision', choices=['f32', 'bf16'], default='bf16')
    add('--seq-len', type=int, default=1024)
    add('--batch-tokens', type=int, default=16384, help='of one optimizer step')
    add('--micro', type=int, default=1, help='rows of one pass through the model')
    add('--tokens', type=int, default=0, help='length of the run and of its schedule')
    add('--steps', type=int, default=0, help='stop after so many, e.g. to measure the speed; 0: all')
    add('--lr', type=float, default=1e-3)
    add('--min-lr', type=float, default=0.0)
    add('--warmup-tokens', type=int, default=0)
    add('--decay-tokens', type=int, default=0)
    add('--decay-shape', choices=['linear', 'cosine', 'minus_sqrt'], default='minus_sqrt')
    add('--weight-decay', type=float, default=0.1)
    add('--clip', type=float, default=1.0)
    add('--eval-every', type=int, default=0, help='steps; 0: at the end only')
    add('--eval-rows', type=int, default=64, help='rows of a validation on the way; the last one takes all')
    add('--chunk', type=int, default=0, help="chunk size of Mamba-2 (same function, other speed); 0: the config's")
    add('--threads', type=int, default=0)
    add('--state-seconds', type=float, default=180, help='between two saved states')
    return parser.parse_args()


def load_model(args):
    config = transformers.AutoConfig.from_pretrained(args.model)
    if args.chunk and hasattr(config, 'chunk_size'):
        config.chunk_size = args.chunk
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, config=config, dtype=torch.float32)
    for module in model.modules():
        if type(module).__name__ == 'NemotronHMamba2Mixer':
            module.time_step_limit = tuple(config.time_step_limit)
    model.config.use_cache = False
    return model.train()


def learning_rate(args, begin, end):
    """Of the step that takes progress from `begin` to `end` tokens."""
    if end < args.warmup_tokens:
        return args.lr * end / args.warmup_tokens
    done = max(begin, args.warmup_tokens)
    rho = (done - (args.tokens - args.decay_tokens)) / max(args.decay_tokens, 1)
    if rho <= 0:
        return args.lr
    shape = {'linear': 1 - rho, 'cosine': (1 + math.cos(math.pi * rho)) / 2, 'minus_sqrt': 1 - math.sqrt(rho)}
    return args.min_lr + (args.lr - args.min_lr) * (shape[args.decay_shape] if rho < 1 else 0)


def make_optimizer(args, model):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{'params': matrices, 'weight_decay': args.weight_decay}, {'params': vectors, 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), eps=1e-8)


def loss_sum(args, model, inputs, targets):
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=args.precision == 'bf16'):
        logits = model(input_ids=inputs).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction='sum')


@torch.no_grad()
def validate(args, model, file, most_rows):
    """Mean loss of a token and bits per byte, over the first `most_rows` rows (0: all, and the shorter last one)."""
    whole = (len(file.ids) - 1) // args.seq_len
    rows = whole if most_rows == 0 else min(whole, most_rows)
    total, tokens = 0.0, rows * args.seq_len
    for first in range(0, rows, VALID_ROWS_A_PASS):
        batch = file.batch(first, min(VALID_ROWS_A_PASS, rows - first), args.seq_len)
        total += loss_sum(args, model, *batch).item()
    if most_rows == 0 and tokens < len(file.ids) - 1:
        total += loss_sum(args, model, *file.batch(rows, 1, args.seq_len)).item()
        tokens = len(file.ids) - 1
    size = file.source_bytes if most_rows == 0 else file.bytes_before(tokens)
    return {'name': 'valid', 'loss': total / tokens, 'bits_per_byte': total / math.log(2) / size}


class Run:
    """Counters, log and saved state of a run; the state holds the place in the log."""

    def __init__(self, args, model, optimizer):
        os.makedirs(args.out, exist_ok=True)
        self.model, self.optimizer = model, optimizer
        self.state_path = os.path.join(args.out, 'state.pt')
        self.step, self.train_seconds, self.saved_at, log_size = 0, 0.0, time.time(), 0
        if args.train and os.path.exists(self.state_path):
            state = torch.load(self.state_path, weights_only=True)
            model.load_state_dict(state['model'])
            optimizer.load_state_dict(state['optimizer'])
            self.step, self.train_seconds, log_size = state['step'], state['seconds'], state['log_size']
        self.log = open(os.path.join(args.out, 'log.jsonl' if args.train else 'valid.jsonl'), 'a')
        if args.train:
            self.log.truncate(log_size)
        self.write('start', {'name': os.path.basename(os.path.abspath(args.out)), 'command': ' '.join(sys.argv[1:]),
                             'version': f'torch {torch.__version__}, transformers {transformers.__version__}',
                             'threads': torch.get_num_threads(), 'ranks': 1, 'precision': args.precision,
                             'parameters': sum(p.numel() for p in model.parameters()), 'total_tokens': args.tokens})

    def write(self, kind, entry):
        self.log.write(json.dumps({'kind': kind, 'time': time.time(), **entry}) + '\n')
        self.log.flush()

    def save(self):
        state = {'model': self.model.state_dict(), 'optimizer': self.optimizer.state_dict(), 'step': self.step,
                 'seconds': self.train_seconds, 'log_size': os.path.getsize(self.log.name)}
        torch.save(state, self.state_path + '.part')
        os.replace(self.state_path + '.part', self.state_path)
        self.saved_at = time.time()


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train(args, model, train_file, valid_file):
    optimizer = make_optimizer(args, model)
    run = Run(args, model, optimizer)
    rows = args.batch_tokens // args.seq_len
    steps = args.tokens // args.batch_tokens
    if steps * args.batch_tokens >= len(train_file.ids):
        sys.exit(f'{args.train} has {len(train_file.ids)} tokens, too few for {args.tokens}')
    last = min(steps, args.steps or steps)
    while run.step < last:
        begin, cpu = time.perf_counter(), time.process_time()
        rate = learning_rate(args, run.step * args.batch_tokens, (run.step + 1) * args.batch_tokens)
        for group in optimizer.param_groups:
            group['lr'] = rate
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for first in range(0, rows, args.micro):
            batch = train_file.batch(run.step * rows + first, min(args.micro, rows - first), args.seq_len)
            loss = loss_sum(args, model, *batch) / args.batch_tokens
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip).item()
        optimizer.step()
        seconds = time.perf_counter() - begin
        run.step += 1
        run.train_seconds += seconds
        tokens = run.step * args.batch_tokens
        run.write('step', {'step': run.step, 'samples': run.step * rows, 'tokens': tokens, 'loss': total, 'grad_norm': norm,
                           'lr': rate, 'tokens_per_s': args.batch_tokens / seconds, 'rss': peak_rss(),
                           'cpu_s': time.process_time() - cpu, 'train_s': run.train_seconds})
        if args.eval_every and run.step % args.eval_every == 0 and run.step < last and valid_file:
            run.write('eval', {'step': run.step, 'tokens': tokens, **validate(args, model, valid_file, args.eval_rows)})
        if time.time() - run.saved_at > args.state_seconds:
            run.save()
    run.save()
    if last == steps:
        model.save_pretrained(os.path.join(args.out, 'model'))
    return run


def main():
    args = options()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_model(args)
    valid_file = TokenFile(args.valid) if args.valid else None
    run = train(args, model, TokenFile(args.train), valid_file) if args.train else Run(args, model, None)
    if valid_file:
        result = {'step': run.step, 'tokens': run.step * args.batch_tokens, **validate(args, model, valid_file, 0)}
        run.write('eval', result)
        print(json.dumps(result))


if __name__ == '__main__':
    main()
