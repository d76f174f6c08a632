// SPDX-License-Identifier: Apache-2.0
// RUN/log.jsonl: what happened in a training run, one JSON object a line, "kind" first and "time" (seconds since 1970) second:
//   start   once a session: name, command, version, isa, threads, ranks, precision, parameters, total_tokens, peak_flops,
//           recipe (its TOML text)
//   step    step, samples, tokens (all so far), loss, grad_norm, param_norm, lr, tokens_per_s, mfu, ms {data, forward, backward,
//           reduce, optimizer, loss, teacher (of distillation)}, rss (bytes), skipped (all so far), datasets {name: {loss, tokens (of this step)}}; under
//           precision fp8 also fp8 {weights | activations | gradients: {amax, values, saturated, underflow}}: what rounding to
//           codes did since the step before in the log, on rank 0; of a distillation (its loss is what it learns) also
//           distill {kl (nats a token, teacher || student), reverse_kl, ce, hidden, agreement (share of first choices)}
//   eval    step, tokens, name (of the dataset), loss, bits_per_byte; beside a teacher also kl, agreement
//   sample  step, tokens, prompt, text
//   event   step, event ("checkpoint", "resume", "skip", "spike", "stop", ...), message
//   end     step, tokens, reason, seconds (of this session)
// A number that is not finite is null. Readers ignore keys and kinds that they do not know, and take a line without a kind but
// with step and loss for a step: so the logs of other trainers can be laid beside ours.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace planish {

struct StartRecord {
  double time = 0;  // filled by the writer, as in all records
  std::string name, command, version, isa, precision;
  uint64_t threads = 0, ranks = 1, parameters = 0, total_tokens = 0;
  double peak_flops = 0;  // that mfu refers to, floating point operations a second
  std::string recipe;
};

struct StepMs {
  double data = 0, forward = 0, backward = 0, reduce = 0, optimizer = 0,
         loss = 0;     // head and its gradient
  double teacher = 0;  // its pass over the batch; its head is part of the loss
};
struct DatasetLoss {
  std::string name;
  double loss = 0;  // mean over the kept targets of this step
  uint64_t tokens = 0;
};
struct Fp8Record {
  std::string name;  // of the class of tensors
  double amax = 0;   // greatest magnitude
  uint64_t values = 0, saturated = 0,
           underflow = 0;  // quantised; beyond the largest code; not 0 that became 0
};
struct DistillRecord {
  double kl = 0, reverse_kl = 0, ce = 0, hidden = 0, agreement = 0;
};
struct StepRecord {
  double time = 0;
  uint64_t step = 0, samples = 0, tokens = 0;
  double loss = 0, grad_norm = 0, param_norm = 0, lr = 0, tokens_per_s = 0, mfu = 0;
  StepMs ms;
  uint64_t rss = 0, skipped = 0;
  std::vector<DatasetLoss> datasets;
  std::vector<Fp8Record> fp8;
  std::optional<DistillRecord> distill;
};

struct EvalRecord {
  double time = 0;
  uint64_t step = 0, tokens = 0;
  std::string name;
  double loss = 0, bits_per_byte = 0;
  double kl = 0, agreement = 0;  // both 0: no teacher
};
struct SampleRecord {
  double time = 0;
  uint64_t step = 0, tokens = 0;
  std::string prompt, text;
};
struct EventRecord {
  double time = 0;
  uint64_t step = 0;
  std::string event, message;
};
struct EndRecord {
  double time = 0;
  uint64_t step = 0, tokens = 0;
  std::string reason;
  double seconds = 0;
};

class RunLogWriter {
 public:
  // Continues a log after its first `offset` bytes; what follows them (steps that a resumed run repeats) is cut off.
  // Offset 0 begins anew. Error(kFailure) if the file cannot be opened, or is shorter than that.
  explicit RunLogWriter(const std::string& path, uint64_t offset = 0);

  // Each is one line, with the system when the call returns. A full disk must not end a run: it is warned of once, the
  // line is lost.
  void Write(const StartRecord& record);
  void Write(const StepRecord& record);
  void Write(const EvalRecord& record);
  void Write(const SampleRecord& record);
  void Write(const EventRecord& record);
  void Write(const EndRecord& record);

  // Bytes in the log, for checkpoints (TrainState::log_offset).
  uint64_t offset() const { return file_.size(); }

 private:
  void WriteLine(const char* kind, Json::Object members);
  AppendFile file_;
  bool has_warned_ = false;
};

struct RunLog {
  std::string path;
  std::vector<StartRecord> starts;
  std::vector<StepRecord> steps;  // by step, each once: the last writing of it
  std::vector<EvalRecord> evals;
  std::vector<SampleRecord> samples;
  std::vector<EventRecord> events;
  std::vector<EndRecord> ends;
  uint64_t bad_lines = 0;  // not JSON, or of wrong types; the last line of a running log may be cut
};
// `path`: a log, or the folder that holds log.jsonl. Error(kBadFile) if it cannot be read or holds no record at all.
RunLog ReadRunLog(const std::string& path);

}  // namespace planish
