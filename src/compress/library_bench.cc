// SPDX-License-Identifier: Apache-2.0
// Speed and yield of block-wise distillation and of replacement scores on a real model and text: tokens a second summed over
// children, losses before and after, seconds a score, and how well sums of scores order random choices (Spearman).
// Usage: library_bench MODEL TEXT FOLDER [tokens=20000] [lr=0.003] [blocks=4: the first ones] [choices=0] [step_tokens=512]
//        [scores=1: 0 leaves scoring out]
#include <cmath>
#include <cstdio>
#include <map>

#include "base/parallel.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "compress/realise.h"
#include "compress/scores.h"
#include "compress/search_costs.h"
#include "eval/divergence.h"
#include "model/masters.h"

namespace planish {
namespace {

void PrintLosses(const BlockLibrary& library) {
  struct Sum {
    double before = 0, after = 0, score = 0;
    int count = 0;
  };
  std::map<std::string, Sum> sums;
  for (const CandidateBlock& block : library.blocks) {
    const char* kind = kMixerNames[block.candidates[0].mixer->index()];
    for (const Candidate& c : block.candidates) {
      if (c.is_parent || !std::isfinite(c.score)) continue;
      Sum& sum = sums[fmt::format("{} {}", kind, c.name)];
      sum.before += c.initial_loss;
      sum.after += c.bld_loss;
      sum.score += c.score;
      ++sum.count;
    }
  }
  std::printf("%-28s %8s %10s %10s %10s\n", "child (means)", "blocks", "initial", "distilled",
              "KL alone");
  for (const auto& [name, s] : sums)
    std::printf("%-28s %8d %10.4f %10.4f %10.5f\n", name.c_str(), s.count, s.before / s.count,
                s.after / s.count, s.score / s.count);
}

void PrintSpearman(const Pretrained& parent, const BlockLibrary& library,
                   const CalibrationRows& rows, size_t choices) {
  std::vector<double> sums, measured;
  Random random(5);
  for (size_t i = 0; i < choices; ++i) {
    // From few replaced blocks to many.
    const double share = (static_cast<double>(i) + 1) / static_cast<double>(choices);
    Choice choice;
    double sum = 0;
    for (const CandidateBlock& block : library.blocks) {
      size_t chosen = 0;
      if (block.candidates.size() > 1 && random.Uniform() < 0.6 * share)
        chosen = 1 + random.Below(block.candidates.size() - 1);
      choice.push_back(chosen);
      sum += block.candidates[chosen].score;
    }
    const Realisation realisation(parent, library, choice);
    const Pretrained child = realisation.InMemory();
    sums.push_back(sum);
    measured.push_back(CompareModels(*child.model, *parent.model, rows.rows).mean_kl());
    std::printf("choice %zu: sum of scores %.4f, KL %.4f\n", i, sum, measured.back());
  }
  std::printf("Spearman over %zu choices: %.3f\n", choices, SpearmanOf(sums, measured));
}

int Main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr,
                 "usage: library_bench MODEL TEXT FOLDER [tokens] [lr] [blocks] [choices]\n");
    return 2;
  }
  const auto number = [&](int i, double fallback) {
    return argc > i ? std::atof(argv[i]) : fallback;
  };
  const Pretrained parent = OpenPretrained(argv[1]);
  HoldMasters(parent.model.get());
  LibraryOptions options;
  options.tokens = static_cast<uint64_t>(number(4, 20000));
  options.lr = number(5, options.lr);
  options.step_tokens = static_cast<size_t>(number(8, 512));
  SearchSpace space = MakeSearchSpace(parent.config, {});
  for (CandidateBlock& block : space.blocks)
    if (block.block >= static_cast<size_t>(number(6, 4))) block.candidates.resize(1);
  CalibrationOptions data{
      .inputs = {argv[2]}, .samples = options.tokens / 512 + 1, .seq_len = 512, .held_out = 0.05};
  const CalibrationRows train = ReadCalibration(parent, data);
  const CalibrationRows held_out = ReadHeldOut(parent, data, 8);
  BlockLibrary library = BuildLibrary(parent, space, train, held_out, options, argv[3]);
  std::printf("%s, %s\n", train.description.c_str(), held_out.description.c_str());
  std::printf("%zu children, %.1f s, %.0f child tokens/s\n", library.children, library.seconds,
              static_cast<double>(library.trained_tokens) / library.seconds);
  double seconds = 0;
  Stopwatch watch;
  if (number(9, 1) > 0) ScoreLibrary(parent, held_out, {}, &library);
  watch.Lap(&seconds);
  std::printf("scores on %zu tokens: %.1f s\n", held_out.tokens(), seconds);
  PrintLosses(library);
  if (number(7, 0) > 0) PrintSpearman(parent, library, held_out, static_cast<size_t>(number(7, 0)));
  return 0;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  planish::LimitSpinning(argv);
  return planish::Main(argc, argv);
}
