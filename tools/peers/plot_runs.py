#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loss curves of several runs (of planish or torch_train.py) in one SVG: training loss, validation, difference to the first.

    pip install matplotlib
    python3 plot_runs.py -o curves.svg NAME=RUN NAME=RUN ...
"""
import argparse
import json
import os

import matplotlib

matplotlib.use('svg')
matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'planish', 'font.size': 9, 'path.simplify': True})
import matplotlib.pyplot as plot  # noqa: E402: after the backend is chosen

SMOOTH = 9  # steps in the running mean of the training loss


def read(folder):
    """Steps and validations of a log, the last of those that were written twice."""
    steps, evals = {}, {}
    with open(os.path.join(folder, 'log.jsonl')) as file:
        for entry in map(json.loads, file):
            if entry['kind'] == 'step':
                steps[entry['step']] = entry
            elif entry['kind'] == 'eval':
                evals[entry['step']] = entry
    return [steps[step] for step in sorted(steps)], [evals[step] for step in sorted(evals)]


def running_mean(values):
    half = SMOOTH // 2
    windows = [values[max(0, i - half):i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-o', '--output', required=True)
    parser.add_argument('--title', default='')
    parser.add_argument('runs', nargs='+', metavar='NAME=RUN')
    args = parser.parse_args()
    runs = [(name, *read(folder)) for name, _, folder in (run.partition('=') for run in args.runs)]

    figure, (train, valid, difference) = plot.subplots(1, 3, figsize=(11, 3.4), layout='constrained')
    reference = {entry['step']: entry['loss'] for entry in runs[0][1]}
    for i, (name, steps, evals) in enumerate(runs):
        color = f'C{i}'
        millions = [entry['tokens'] / 1e6 for entry in steps]
        train.plot(millions, running_mean([entry['loss'] for entry in steps]), color=color, lw=1, label=name)
        valid.plot([entry['tokens'] / 1e6 for entry in evals], [entry['bits_per_byte'] for entry in evals], color=color,
                   lw=1, marker='.', label=name)
        if i > 0:
            both = [entry for entry in steps if entry['step'] in reference]
            difference.plot([entry['tokens'] / 1e6 for entry in both],
                            running_mean([entry['loss'] - reference[entry['step']] for entry in both]), color=color,
                            lw=1, label=f'{name} - {runs[0][0]}')
    train.set(title=f'training loss (mean of {SMOOTH} steps)', ylabel='nats a token')
    valid.set(title='validation', ylabel='bits per byte')
    difference.set(title='difference of training loss', ylabel='nats a token')
    difference.axhline(0, color='0.6', lw=0.6)
    for axes in (train, valid, difference):
        axes.set_xlabel('million tokens')
        axes.grid(lw=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    figure.suptitle(args.title)
    figure.savefig(args.output, metadata={'Date': None})


if __name__ == '__main__':
    main()
