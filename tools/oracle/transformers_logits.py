#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a model folder in transformers and compares its logits, and its rendering of the chat template, with planish's.

    transformers_logits.py MODEL --planish build/planish [--prompt TEXT] [--tolerance 1e-3]

Needs torch, transformers and safetensors. Both sides compute in f32. Prints one JSON object; exit status 1 when the
largest difference of a logit exceeds the tolerance or a rendered chat differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

CHATS = [
    {'messages': [{'role': 'user', 'content': 'Tom has 12 apples and buys 30 more. How many apples does he have?'}]},
    {'messages': [{'role': 'user', 'content': 'How many days has May? /no_think'}]},
    {'messages': [{'role': 'system', 'content': 'Be short.'}, {'role': 'user', 'content': 'Hello'},
                  {'role': 'assistant', 'content': 'Hello! What can I do for you?'},
                  {'role': 'user', 'content': 'Spell "level".'}]},
]


def planish_logits(planish, model, ids, folder):
    from safetensors import safe_open
    ids_path, out = os.path.join(folder, 'ids.json'), os.path.join(folder, 'logits.safetensors')
    with open(ids_path, 'w', encoding='utf-8') as file:
        json.dump(ids, file)
    subprocess.run([planish, 'logits', '-m', model, '--ids', ids_path, '-o', out, '--act', 'f32', '-q'], check=True)
    with safe_open(out, framework='pt') as file:
        return file.get_tensor('logits')


def planish_rendering(planish, model, chat):
    line = json.dumps({**chat, 'add_generation_prompt': True})
    out = subprocess.run([planish, 'template', '-m', model, '--jsonl', '-q'], input=line + '\n', check=True,
                         capture_output=True, text=True).stdout
    return json.loads(out)['text']


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model')
    parser.add_argument('--planish', default='build/planish')
    parser.add_argument('--prompt', help='instead of three built-in chats')
    parser.add_argument('--tolerance', type=float, default=1e-3)
    args = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    texts = [args.prompt] if args.prompt else [
        tokenizer.apply_chat_template(chat['messages'], tokenize=False, add_generation_prompt=True) for chat in CHATS]
    report = {'model': args.model, 'prompts': []}
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            ids = tokenizer(text, add_special_tokens=False)['input_ids']
            with torch.no_grad():
                theirs = model(torch.tensor([ids]), use_cache=False).logits[0].float()
            ours = planish_logits(args.planish, args.model, ids, folder)
            entry = {'tokens': len(ids), 'max_difference': float((theirs - ours).abs().max()),
                     'same_argmax': bool((theirs.argmax(-1) == ours.argmax(-1)).all())}
            if not args.prompt:
                entry['same_rendering'] = planish_rendering(args.planish, args.model, CHATS[number]) == text
            report['prompts'].append(entry)
    report['passed'] = all(entry['max_difference'] <= args.tolerance and entry.get('same_rendering', True)
                           for entry in report['prompts'])
    print(json.dumps(report, indent=1))
    return 0 if report['passed'] else 1


if __name__ == '__main__':
    sys.exit(main())
