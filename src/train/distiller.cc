// SPDX-License-Identifier: Apache-2.0
#include "train/distiller.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "kernels/cosine_rows.h"

namespace planish {
namespace {

// "3" -> 3, below `count`.
size_t BlockNumber(std::string_view text, size_t count, const std::string& whole,
                   const char* whose) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value >= count)
    throw UsageError(
        "distill.hidden_blocks: {} is no pair \"student:teacher\" of blocks, the {} has 0..{}",
        Quoted(whole), whose, count - 1);
  return value;
}

}  // namespace

DistillationTerms TermsOf(const DistillSection& section) {
  const auto divergence = static_cast<float>(1 - section.alpha);
  const float forward = section.kind == DistillKind::kForward   ? 1
                        : section.kind == DistillKind::kReverse ? 0
                                                                : 0.5f;
  return {.ce = static_cast<float>(section.alpha),
          .forward = divergence * forward,
          .reverse = divergence * (1 - forward),
          .temperature = static_cast<float>(section.temperature)};
}

std::vector<BlockPair> PairBlocks(const DistillSection& section, const ModelConfig& student,
                                  const ModelConfig& teacher) {
  std::vector<BlockPair> pairs;
  if (section.hidden_weight == 0) return pairs;
  const size_t S = student.blocks.size(), T = teacher.blocks.size();
  for (const std::string& text : section.hidden_blocks) {
    const size_t colon = std::min(text.find(':'), text.size());
    const std::string_view view(text);
    pairs.push_back(
        {BlockNumber(view.substr(0, colon), S, text, "student"),
         BlockNumber(view.substr(std::min(colon + 1, text.size())), T, text, "teacher")});
  }
  for (size_t i = 0; section.hidden_blocks.empty() && i < S; ++i) {
    const size_t depth = ((i + 1) * T + S / 2) / S;  // of the teacher's blocks, rounded
    pairs.push_back({i, std::max<size_t>(depth, 1) - 1});
  }
  return pairs;
}

Distiller::Distiller(const DistillSection& section, const Pretrained& student,
                     const std::string& data_hash, uint64_t samples, uint64_t seed)
    : section_(section), terms_(TermsOf(section)) {
  if (!section.cache.empty()) {
    cache_ = std::make_unique<TeacherCache>(section.cache);
    cache_->Require(student, section.temperature, data_hash, samples);
    return;
  }
  teacher_ = std::make_unique<Teacher>(section.teacher, section.teacher_act, student);
  pairs_ = PairBlocks(section, student.config, teacher_->config());
  for (const BlockPair& pair : pairs_) teacher_blocks_.push_back(pair.teacher);
  std::sort(teacher_blocks_.begin(), teacher_blocks_.end());
  teacher_blocks_.erase(std::unique(teacher_blocks_.begin(), teacher_blocks_.end()),
                        teacher_blocks_.end());
  const size_t own = student.config.hidden_size, teachers = teacher_->config().hidden_size;
  if (!pairs_.empty() && own != teachers)
    projector_ = std::make_unique<StreamProjector>(own, teachers, seed);
}

std::vector<Param> Distiller::OwnParams() const {
  return projector_ == nullptr ? std::vector<Param>() : std::vector<Param>{projector_->param()};
}

const std::string& Distiller::identity() const {
  return teacher_ != nullptr ? teacher_->identity() : cache_->identity();
}

std::string Distiller::Describe() const {
  if (cache_ != nullptr)
    return fmt::format("teacher from {}: {} ids a token", Quoted(section_.cache, 300), cache_->k());
  static constexpr const char* kActs[] = {"f32", "bf16", "int8"};
  return fmt::format(
      "teacher {} in {}, {} pairs of residual streams{}{}", Quoted(section_.teacher, 300),
      kActs[static_cast<size_t>(section_.teacher_act)], pairs_.size(),
      projector_ == nullptr ? "" : " through a projector",
      section_.on_policy == 0 ? ""
                              : fmt::format(", {:.3g} % of the rows on the student's own answers",
                                            100 * section_.on_policy));
}

void Distiller::Begin(const TokenBatch& batch) {
  hidden_ = 0;
  if (teacher_ != nullptr)
    teacher_->Run(batch, teacher_blocks_);
  else
    rows_ = cache_->Read(batch);
}

TeacherRows Distiller::Rows() {
  if (teacher_ != nullptr)
    return {.logits = [this](std::span<const size_t> rows,
                             float* logits) { teacher_->Logits(rows, logits); },
            .likeliest = {}};
  return {.logits = nullptr,
          .likeliest = {.k = cache_->k(),
                        .ids = rows_.ids.data(),
                        .log_probs = rows_.log_probs.data(),
                        .rest = rows_.rest.data()}};
}

LossSums Distiller::Train(const LossInput& input, double* row_losses, float* d_hidden,
                          float* d_head) {
  return DistillLoss(input, terms_, Rows(), row_losses, d_hidden, d_head);
}

// row_hidden_ and dh of one pair.
void Distiller::Compare(const float* h, size_t teacher_block, const uint8_t* mask, size_t T,
                        size_t D, double weight, float* dh) {
  const float* reference = teacher_->stream(teacher_block);
  if (projector_ == nullptr) {
    CosineRows(h, reference, mask, T, D, weight, row_hidden_.data(), dh);
    return;
  }
  const float* z = projector_->Project(h, T);
  CosineRows(z, reference, mask, T, teacher_->config().hidden_size, weight, row_hidden_.data(),
             projector_->Gradient(T));
  projector_->Backward(h, T, dh);
}

Model::StreamGradient Distiller::StreamGradientOf(const LossInput& input) {
  if (pairs_.empty()) return nullptr;
  const size_t T = input.T, D = input.head->in();
  return [this, T, D, mask = input.mask](size_t block, const float* h, float* dh) {
    const double weight = section_.hidden_weight / static_cast<double>(pairs_.size());
    row_hidden_.resize(T);
    for (const BlockPair& pair : pairs_) {
      if (pair.student != block) continue;
      Compare(h, pair.teacher, mask, T, D, weight, dh);
      for (const double loss : row_hidden_) hidden_ += loss;
    }
  };
}

void Distiller::Finish(LossSums* sums) {
  if (pairs_.empty()) return;
  sums->distill.hidden = hidden_ / static_cast<double>(pairs_.size());
  sums->distill.objective += section_.hidden_weight * sums->distill.hidden;
}

LossSums Distiller::Evaluate(const TokenBatch& batch, const LossInput& input, double* row_losses) {
  if (teacher_ == nullptr) return EvaluateLoss(input, row_losses);
  teacher_->Run(batch);
  return DistillLoss(input, terms_, Rows(), row_losses, nullptr, nullptr);
}

}  // namespace planish
