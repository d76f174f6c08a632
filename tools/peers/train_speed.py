#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training speed and memory of planish beside PyTorch: two shapes, the same steps, turn and turn about.

    python3 train_speed.py --planish build/planish --torch VENV/bin/python --work DIR [options]

Shapes: a NemotronH of 37 M and a Llama of 38 M parameters, T = 1024, 8 rows a pass, 16,384 tokens a step, from random weights
on generated text (the speed does not depend on it). VENV has what torch_train.py asks for. Each program runs `--steps`
steps; the first ones (`--warm`) are not counted; the figure is the median of the others over all rounds. Memory is the
peak resident size of the process. PyTorch is run twice: as it comes, and with the allocator told to keep what it has and to
use huge pages, which is faster where page faults are dear; the better one is the one to beat.
"""
import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys

HYBRID = {
    'architectures': ['NemotronHForCausalLM'], 'model_type': 'nemotron_h', 'vocab_size': 16384, 'hidden_size': 512,
    'num_hidden_layers': 12, 'hybrid_override_pattern': 'M-M*-M-M*-M-', 'intermediate_size': 2048,
    'mlp_hidden_act': 'relu2', 'mlp_bias': False, 'num_attention_heads': 8, 'num_key_value_heads': 2, 'head_dim': 64,
    'attention_bias': False, 'mamba_num_heads': 16, 'mamba_head_dim': 64, 'ssm_state_size': 64, 'n_groups': 2,
    'conv_kernel': 4, 'chunk_size': 128, 'use_bias': False, 'use_conv_bias': True, 'mamba_proj_bias': False,
    'layer_norm_epsilon': 1e-5, 'initializer_range': 0.04, 'residual_in_fp32': True, 'max_position_embeddings': 8192,
    'tie_word_embeddings': False, 'bos_token_id': 0, 'eos_token_id': 0, 'pad_token_id': 0, 'torch_dtype': 'float32'}
LLAMA = {
    'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'vocab_size': 16384, 'hidden_size': 512,
    'num_hidden_layers': 8, 'intermediate_size': 1280, 'num_attention_heads': 8, 'num_key_value_heads': 2,
    'head_dim': 64, 'hidden_act': 'silu', 'rms_norm_eps': 1e-5, 'rope_theta': 10000.0, 'max_position_embeddings': 8192,
    'initializer_range': 0.04, 'attention_bias': False, 'mlp_bias': False, 'tie_word_embeddings': False,
    'bos_token_id': 0, 'eos_token_id': 0, 'torch_dtype': 'float32'}
SHAPES = {'hybrid': HYBRID, 'llama': LLAMA}
KEEPING_ALLOCATOR = 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000'

RECIPE = """name = "{name}"
[model]
init = "{model}"
[data]
doc_reset = false
[[data.phases]]
[[data.phases.datasets]]
path = "{tokens}"
[batch]
seq_len = {seq_len}
tokens = {batch_tokens}
micro_samples = {micro}
[schedule]
kind = "constant"
lr = 1e-4
steps = {steps}
[precision]
mode = "{precision}"
[recompute]
policy = "{recompute}"
[checkpoint]
every_steps = 0
"""


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--planish', required=True)
    add('--torch', required=True, help='Python that has PyTorch and transformers')
    add('--work', required=True, help='folder for models, data and logs')
    add('--shapes', default='hybrid,llama')
    add('--runs', default='planish:bf16,torch:bf16,torch-kept:bf16', help='PROGRAM:PRECISION, in the order of a round')
    add('--rounds', type=int, default=2)
    add('--steps', type=int, default=4)
    add('--warm', type=int, default=2)
    add('--seq-len', type=int, default=1024)
    add('--batch-tokens', type=int, default=16384)
    add('--micro', type=int, default=8)
    add('--threads', type=int, default=os.cpu_count())
    add('--recompute', default='none', help="of planish's recipe")
    add('--wrap', default='', help='command put before each run, e.g. taskset -c 0,1')
    return parser.parse_args()


def prepare(args, shape):
    """Initial weights and token file of a shape; both are kept from run to run."""
    folder = os.path.join(args.work, shape)
    os.makedirs(folder, exist_ok=True)
    model, tokens, text = (os.path.join(folder, name) for name in ('model', 'text.tokens', 'text.jsonl'))
    if not os.path.exists(model):
        config = os.path.join(folder, 'config.json')
        with open(config, 'w') as file:
            json.dump(SHAPES[shape], file)
        subprocess.run([args.planish, 'init', config, '--type', 'f32', '-o', model], check=True)
    if not os.path.exists(tokens):
        generator = random.Random(1)
        words = [''.join(generator.choices('abcdefghijklmnopqrstuvwxyz', k=generator.randint(2, 9))) for _ in range(999)]
        with open(text, 'w') as file:
            for _ in range(64 + args.batch_tokens * args.steps // 8192):
                file.write(json.dumps({'text': ' '.join(generator.choices(words, k=2048))}) + '\n')
        subprocess.run([args.planish, 'tokenize', text, '--tokenizer', model, '-o', tokens], check=True)
    return model, tokens


def command_of(args, program, precision, shape, run):
    model, tokens = prepare(args, shape)
    if program == 'planish':
        recipe = run + '.toml'
        with open(recipe, 'w') as file:
            file.write(RECIPE.format(name=shape, model=model, tokens=tokens, precision=precision, seq_len=args.seq_len,
                                     batch_tokens=args.batch_tokens, micro=args.micro, steps=args.steps,
                                     recompute=args.recompute))
        return [args.planish, 'pretrain', recipe, '-o', run, '--threads', str(args.threads)]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'torch_train.py')
    return [args.torch, script, model, '--train', tokens, '--out', run, '--precision', precision,
            '--seq-len', str(args.seq_len), '--batch-tokens', str(args.batch_tokens), '--micro', str(args.micro),
            '--tokens', str(args.batch_tokens * args.steps), '--lr', '1e-4', '--threads', str(args.threads)]


def measure(args, program, precision, shape, number):
    """Tokens a second of the counted steps, peak bytes, and the log's steps."""
    run = os.path.join(args.work, shape, f'{program}-{precision}-{number}')
    subprocess.run(['rm', '-rf', run], check=True)
    environment = dict(os.environ, TRANSFORMERS_VERBOSITY='error')
    if program == 'torch-kept':
        environment['GLIBC_TUNABLES'] = KEEPING_ALLOCATOR
    command = shlex.split(args.wrap) + command_of(args, program, precision, shape, run)
    with open(run + '.out', 'w') as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f'{shlex.join(command)} failed; see {run}.out')
    with open(os.path.join(run, 'log.jsonl')) as file:
        steps = [entry for entry in map(json.loads, file) if entry['kind'] == 'step']
    return [step['tokens_per_s'] for step in steps[args.warm:]], usage.ru_maxrss * 1024, steps


def main():
    args = options()
    args.work, args.planish = os.path.abspath(args.work), os.path.abspath(args.planish)
    os.makedirs(args.work, exist_ok=True)
    runs = [tuple(run.split(':')) for run in args.runs.split(',')]
    print('| shape | program | tokens/s (median) | lowest .. highest | MFU | peak memory | loss of the last step |')
    print('|---|---|---|---|---|---|---|')
    for shape in args.shapes.split(','):
        speeds, peaks, last, share = {}, {}, {}, 0.0
        for number in range(args.rounds):
            for run in runs:
                speed, peak, steps = measure(args, *run, shape, number)
                speeds.setdefault(run, []).extend(speed)
                peaks[run] = max(peak, peaks.get(run, 0))
                last[run] = steps[-1]['loss']
                if steps[-1].get('mfu'):  # of planish: work a token over the peak, the same for all programs
                    share = steps[-1]['mfu'] / steps[-1]['tokens_per_s']
        for run in runs:
            middle = statistics.median(speeds[run])
            print(f'| {shape} | {" ".join(run)} | {middle:,.0f} | {min(speeds[run]):,.0f} .. {max(speeds[run]):,.0f} | '
                  f'{share * middle:.1%} | {peaks[run] / 2**30:.2f} GiB | {last[run]:.4f} |', flush=True)


if __name__ == '__main__':
    main()
