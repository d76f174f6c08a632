#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Expected efficiency of data-parallel training on R ranks, from figures that one machine can measure.

What is simulated, step by step as src/train/gradient_sum.h does it:
  * Every rank computes the same number of micro-batches; the backward pass of the last one finishes the blocks in
    descending order, and the gradients of a finished block leave at once: each owner gets its part from the R - 1 others
    (4 bytes a parameter, (R - 1) / R of them out of and into every rank).
  * A rank's link sends one message at a time at `--link` Gbit/s and costs `--latency` seconds a message; sending and receiving
    go on at the same time. The network itself is taken as free of contention.
  * Then every rank updates its part (28 bytes of memory traffic a parameter) and sends the new values to all (4 bytes a
    parameter again).
  * The slowest rank sets the pace: compute times of ranks scatter by `--jitter` (relative standard deviation, normal); the
    mean over `--steps` drawn steps is printed.
With `--node N`, N ranks share a host: sums of a host's aligned subtree are formed in its memory first (the tree is the same), and
only one of them talks to the network.

  tools/scaling.py --parameters 150e6 --tokens-per-s 4000 --batch-tokens 524288 --blocks 24 --link 10 25 100
"""
import argparse
import random


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, required=True, help="trainable parameters")
    parser.add_argument("--tokens-per-s", type=float, required=True, help="measured on one rank")
    parser.add_argument("--batch-tokens", type=float, required=True, help="tokens a step, all ranks together")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--micro-tokens", type=float, default=8192, help="tokens of a micro-batch")
    parser.add_argument("--link", type=float, nargs="+", default=[1, 10, 25, 100], help="Gbit/s of a host, each way")
    parser.add_argument("--latency", type=float, default=20e-6, help="seconds a message")
    parser.add_argument("--node", type=int, default=1, help="ranks on one host")
    parser.add_argument("--memory", type=float, default=35e9, help="bytes/s of a host's memory")
    parser.add_argument("--jitter", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
    return parser.parse_args()


def step_seconds(a, ranks, link, rng):
    """One step: (seconds, seconds of them in which ranks only wait for messages)."""
    tokens = a.batch_tokens / ranks
    micro = min(a.micro_tokens, tokens)
    pace = 1 + max(0.0, a.jitter * max(rng.gauss(0, 1) for _ in range(ranks)))
    compute = tokens / a.tokens_per_s * pace
    backward = micro / a.tokens_per_s * pace * 2 / 3  # of the last micro-batch: two thirds of its work
    hosts = max(1, ranks // a.node)
    bytes_per_s = link * 1e9 / 8
    gradient_bytes = 4 * a.parameters
    # Inside a host: pairwise sums through memory, read twice and written once.
    local = gradient_bytes * 3 * (min(a.node, ranks) - 1) / min(a.node, ranks) / a.memory
    link_free = 0.0
    for block in range(a.blocks):
        ready = compute - backward + backward * (block + 1) / a.blocks + local * (block + 1) / a.blocks
        cost = gradient_bytes / a.blocks * (hosts - 1) / hosts / bytes_per_s
        cost += max(1, -(-(hosts - 1) // a.blocks)) * a.latency if hosts > 1 else 0
        link_free = max(link_free, ready) + cost
    reduced = max(compute + local, link_free)
    update = 28 * a.parameters / ranks / a.memory
    gather = gradient_bytes * (hosts - 1) / hosts / bytes_per_s + (hosts - 1) * a.latency if hosts > 1 else 0
    return reduced + update + gather, reduced - compute + gather


def main():
    a = arguments()
    rng = random.Random(1)
    alone = a.batch_tokens / a.tokens_per_s + 28 * a.parameters / a.memory
    print(f"{a.parameters / 1e6:.0f} M parameters, {a.batch_tokens:.0f} tokens a step, one rank {a.tokens_per_s:.0f} tokens/s "
          f"({alone:.1f} s a step), {8 * a.parameters / 1e6:.0f} MB out of every rank a step (gradients and values)")
    print("| ranks | " + " | ".join(f"{link:g} Gbit/s" for link in a.link) + " |")
    print("|---" * (len(a.link) + 1) + "|")
    for ranks in a.ranks:
        if a.batch_tokens / ranks < 1024:
            break
        cells = []
        for link in a.link:
            total = sum(step_seconds(a, ranks, link, rng)[0] for _ in range(a.steps)) / a.steps
            cells.append(f"{alone / (ranks * total) * 100:.0f} % ({a.batch_tokens / total:.0f} t/s)")
        print(f"| {ranks} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
