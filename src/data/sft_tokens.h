// SPDX-License-Identifier: Apache-2.0
// JSONL conversations to a token file with loss mask, several lines at a time on all threads, written in file order.
#pragma once

#include <string>

#include "data/chat_encoder.h"
#include "data/dialogue_lines.h"
#include "data/packing.h"
#include "data/token_file.h"

namespace planish {

struct SftOptions {
  TrainedTurns turns = TrainedTurns::kAll;
  size_t max_tokens = 0;  // of a sample; 0: no limit (the loader has a policy of its own)
  LongExample long_examples = LongExample::kTruncate;
  bool skips_bad_lines = false;  // count them; else the first one is an Error
};

struct SftCounts {
  uint64_t dialogues = 0, samples = 0;
  uint64_t bad_lines = 0;                                 // only with skips_bad_lines
  uint64_t without_answer = 0;                            // dialogues that gave no sample
  uint64_t empty_turns = 0, turns_without_reasoning = 0;  // see EncodedDialogue
  uint64_t long_samples = 0, lost_tokens = 0;  // longer than max_tokens; cut off or dropped
  std::string first_bad;                       // message of the first bad line
};

// Reads all lines and appends one document a sample; its source bytes are those of the
// trained text. Error(kBadFile) "WHERE:LINE: ..." for a bad line. The writer is not committed.
SftCounts TokenizeDialogues(DialogueLines* lines, const ChatEncoder& encoder,
                            const SftOptions& options, TokenFileWriter* writer);

}  // namespace planish
