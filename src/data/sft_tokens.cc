// SPDX-License-Identifier: Apache-2.0
#include "data/sft_tokens.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"

namespace planish {
namespace {

constexpr size_t kLinesAtATime = 256;

struct Line {
  std::string text, place;
  EncodedDialogue encoded;
  std::string error;
};

uint64_t Trained(std::span<const uint8_t> mask) {
  return std::accumulate(mask.begin(), mask.end(), uint64_t{0});
}

class Appender {
 public:
  Appender(const SftOptions& options, TokenFileWriter* writer, SftCounts* counts)
      : options_(options), writer_(writer), counts_(counts) {}

  void Append(const MaskedTokens& sample) {
    const size_t length = sample.ids.size(), most = options_.max_tokens;
    if (most == 0 || length <= most) {
      AppendPart(sample, 0, length);
      return;
    }
    ++counts_->long_samples;
    size_t kept = 0;
    if (options_.long_examples == LongExample::kTruncate) {
      kept = AppendPart(sample, 0, most);
    } else if (options_.long_examples == LongExample::kSplit) {
      for (size_t begin = 0; begin < length; begin += most)
        kept += AppendPart(sample, begin, std::min(most, length - begin));
    }
    counts_->lost_tokens += length - kept;
  }

 private:
  // Tokens written: none if nothing of the part is trained. The first token of a document is never predicted.
  size_t AppendPart(const MaskedTokens& sample, size_t begin, size_t count) {
    const auto mask = std::span(sample.mask).subspan(begin, count);
    const uint64_t trained = Trained(mask.subspan(1));
    if (trained == 0) return 0;
    const uint64_t bytes = sample.trained_bytes * Trained(mask) / Trained(sample.mask);
    writer_->Append(std::span(sample.ids).subspan(begin, count), bytes, mask);
    ++counts_->samples;
    return count;
  }

  const SftOptions& options_;
  TokenFileWriter* writer_;
  SftCounts* counts_;
};

}  // namespace

SftCounts TokenizeDialogues(DialogueLines* lines, const ChatEncoder& encoder,
                            const SftOptions& options, TokenFileWriter* writer) {
  SftCounts counts;
  Appender appender(options, writer, &counts);
  for (bool at_end = false; !at_end;) {
    std::vector<Line> batch;
    while (batch.size() < kLinesAtATime) {
      Line line;
      at_end = !lines->NextLine(&line.text);
      if (at_end) break;
      line.place = lines->place();
      batch.push_back(std::move(line));
    }
    ParallelFor(batch.size(), [&](size_t i, int) {
      Line& line = batch[i];
      try {
        const Dialogue dialogue = ParseDialogue(line.text, line.place);
        try {
          line.encoded = encoder.Encode(dialogue, options.turns);
        } catch (const Error& error) {
          line.error = fmt::format("{}: {}", line.place, error.what());
        }
      } catch (const Error& error) {
        line.error = error.what();
      }
    });
    for (const Line& line : batch) {
      ++counts.dialogues;
      if (!line.error.empty()) {
        if (!options.skips_bad_lines) throw Error(ExitCode::kBadFile, line.error, "--skip-bad");
        if (counts.bad_lines++ == 0) counts.first_bad = line.error;
        continue;
      }
      counts.empty_turns += line.encoded.empty_turns;
      counts.turns_without_reasoning += line.encoded.turns_without_reasoning;
      const uint64_t before = counts.samples;
      for (const MaskedTokens& sample : line.encoded.samples) appender.Append(sample);
      counts.without_answer += counts.samples == before;
    }
  }
  return counts;
}

}  // namespace planish
