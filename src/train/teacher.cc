// SPDX-License-Identifier: Apache-2.0
#include "train/teacher.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "data/token_file.h"
#include "model/planner.h"
#include "tensor/blocks.h"
#include "train/loss.h"
#include "train/train_plan.h"

namespace planish {
namespace {

Precision PrecisionOf(TeacherAct act) {
  return act == TeacherAct::kF32 ? Precision::kF32 : Precision::kBf16;
}

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// Weights that integer products cannot read, to Q8_0: rounding to nearest, one weight at a time.
void QuantizeFloats(Model* model) {
  constexpr size_t kGroup = 32;
  model->VisitParams([&](const Param& param) {
    Weight* weight = param.weight;
    const bool only_hands_out_rows =
        param.role == ParamRole::kEmbedding && !model->config().tie_embeddings;
    if (weight == nullptr || only_hands_out_rows || !IsFloat(weight->dtype()) ||
        weight->in() % kGroup != 0)
      return;
    Weight codes(weight->name(), weight->out(), weight->in(), DType::kQ8_0);
    std::byte* rows = codes.mutable_data();
    const size_t row_bytes = codes.row_bytes();
    ParallelFor(weight->out(), [&](size_t r, int) {
      std::vector<float> row(weight->in());
      weight->DequantizeRow(r, row.data());
      QuantizeRow(DType::kQ8_0, row.data(), rows + r * row_bytes, row.size());
    });
    *weight = std::move(codes);
  });
  model->ParamsChanged();
}

std::string IdentityOf(Pretrained* opened, TeacherAct act) {
  std::string text =
      fmt::format("{}\n{}", DumpJson(ConfigToJson(opened->config)), static_cast<int>(act));
  opened->model->VisitParams([&](const Param& param) {
    text += "\n" + param.name + " ";
    if (param.weight != nullptr) {
      text += Name(param.weight->dtype());
      text.append(reinterpret_cast<const char*>(param.weight->data()), param.weight->row_bytes());
    } else {
      text.append(reinterpret_cast<const char*>(param.vector->data()), param.vector->bytes());
    }
  });
  return Sha256Hex(text);
}

}  // namespace

void RequireSameIds(const Pretrained& student, const Pretrained& teacher) {
  const std::string hint = "a student made from this teacher has its tokenizer";
  if (student.config.vocab_size != teacher.config.vocab_size)
    throw Error(ExitCode::kBadFile,
                fmt::format("teacher {} has a vocabulary of {} ids, student {} of {}",
                            Quoted(teacher.name, 200), teacher.config.vocab_size,
                            Quoted(student.name, 200), student.config.vocab_size),
                hint);
  if (student.tokenizer == nullptr || teacher.tokenizer == nullptr) return;
  if (TokenizerHash(*student.tokenizer) == TokenizerHash(*teacher.tokenizer)) return;
  throw Error(ExitCode::kBadFile,
              fmt::format("teacher {} and student {} have different tokenizers: their ids do not "
                          "mean the same",
                          Quoted(teacher.name, 200), Quoted(student.name, 200)),
              hint);
}

Teacher::Teacher(const std::string& path, TeacherAct act, const Pretrained& student)
    : opened_(OpenPretrained(path, {.needs_tokenizer = false, .checks_memory = false})), act_(act) {
  RequireSameIds(student, opened_);
  identity_ = IdentityOf(&opened_, act);
  if (act != TeacherAct::kInt8) return;
  QuantizeFloats(opened_.model.get());
  ApplyRunMode({.act = ActMode::kInt8}, opened_.model.get());
}

Teacher::~Teacher() = default;

void Teacher::Run(const TokenBatch& batch, std::span<const size_t> blocks) {
  PLANISH_CHECK(act_ != TeacherAct::kInt8 || blocks.empty());
  head_ = nullptr;
  scope_ = nullptr;
  const size_t T = batch.ids.size(), D = opened_.config.hidden_size;
  if (hidden_.bytes() != T * D * sizeof(float)) hidden_ = Tensor::F32({T, D});
  streams_.resize(opened_.config.blocks.size());
  for (size_t block = 0; block < streams_.size(); ++block) {
    if (std::find(blocks.begin(), blocks.end(), block) == blocks.end())
      streams_[block] = Tensor();
    else if (streams_[block].bytes() != T * D * sizeof(float))
      streams_[block] = Tensor::F32({T, D});
  }
  if (act_ == TeacherAct::kInt8) return RunSteps(batch);
  const SeqLayout layout = SeqLayout::Packed(batch.document_lengths);
  const Pass pass{.layout = layout, .workspace = &workspace_, .precision = PrecisionOf(act_)};
  opened_.model->Forward(pass, batch.ids, hidden_.f32(), Recompute(), nullptr,
                         [&](int block, const float* h) {
                           if (block < 0) return;
                           Tensor& stream = streams_[static_cast<size_t>(block)];
                           if (stream.bytes() > 0) std::copy_n(h, T * D, stream.f32());
                         });
  scope_ = std::make_unique<Workspace::Scope>(workspace_);
  const size_t chunk = std::min(LossChunkRows(opened_.config.vocab_size), (T + 31) / 32 * 32);
  head_ = std::make_unique<HeadRows>(opened_.model->head(), hidden_.f32(), pass.precision, chunk,
                                     /*has_gradient=*/false, &workspace_);
}

// Documents one after the other, so that no more than one has states in memory.
void Teacher::RunSteps(const TokenBatch& batch) {
  const size_t D = opened_.config.hidden_size;
  size_t begin = 0;
  for (const size_t length : batch.document_lengths) {
    SequenceState sequence = opened_.model->NewSequence();
    const StepRun run{.begin = 0, .count = length, .sequence = &sequence};
    opened_.model->Step(std::span(batch.ids).subspan(begin, length), {&run, 1},
                        hidden_.f32() + begin * D, &workspace_);
    begin += length;
  }
}

void Teacher::Logits(std::span<const size_t> rows, float* logits) {
  if (head_ != nullptr) return head_->Logits(rows, logits);
  const size_t D = opened_.config.hidden_size;
  const Workspace::Scope scope(workspace_);
  float* x = workspace_.Take(rows.size() * D);
  for (size_t r = 0; r < rows.size(); ++r) std::copy_n(hidden_.f32() + rows[r] * D, D, x + r * D);
  opened_.model->Head(x, rows.size(), logits);
}

const float* Teacher::stream(size_t block) const {
  PLANISH_CHECK(streams_[block].bytes() > 0);
  return streams_[block].f32();
}

uint64_t TeacherBytes(const Pretrained& described, TeacherAct act, uint64_t tokens,
                      bool keeps_streams) {
  const ModelConfig& config = described.config;
  const Plan stored = MakePlan(config, {.weight_dtype = DType::kQ8_0});
  const uint64_t weights = act == TeacherAct::kInt8
                               ? std::min(described.file_bytes, stored.weight_bytes)
                               : described.file_bytes;
  // The scratch of a training pass has room for one that only goes forward.
  const TrainPlan pass = PlanTraining(config, {.micro_tokens = tokens,
                                               .precision = PrecisionOf(act),
                                               .recompute = {.kind = Recompute::Kind::kFull}});
  const uint64_t rows = 4 * tokens * config.hidden_size;
  return weights + pass.workspace + rows * (1 + (keeps_streams ? config.blocks.size() : 0));
}

}  // namespace planish
