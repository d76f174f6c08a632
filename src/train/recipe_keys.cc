// SPDX-License-Identifier: Apache-2.0
// The list of keys: name, range, meaning.
#include "train/recipe_keys.h"

#include "base/limits.h"

namespace planish {
namespace {

constexpr uint64_t kManyTokens = uint64_t{1} << 50;
constexpr uint64_t kManySteps = uint64_t{1} << 32;
constexpr double kLargestRate = 1e3;

// Texts of enumerations, in their order.
constexpr const char* kRowModes[] = {"stream", "packed"};
constexpr const char* kLongExamples[] = {"truncate", "drop", "split"};
constexpr const char* kEpochRules[] = {"error", "renormalise"};
constexpr const char* kSchedules[] = {"constant", "linear", "cosine", "wsd", "inverse_sqrt"};
constexpr const char* kDecayShapes[] = {"linear", "cosine", "minus_sqrt", "exponential"};
constexpr const char* kPrecisions[] = {"f32", "bf16", "fp8"};
constexpr const char* kFp8Scalings[] = {"blockwise", "tensorwise"};
constexpr const char* kDistillKinds[] = {"forward_kl", "reverse_kl", "mixed"};
constexpr const char* kTeacherActs[] = {"f32", "bf16", "int8"};
constexpr const char* kPolicies[] = {"none", "selective", "full"};

void VisitModel(KeyVisitor* v, ModelSection* s) {
  v->Path("init", &s->init, "trained model to go on from: folder or GGUF file");
  v->Path("config", &s->config,
          "shape of a new model: published name, config.json or model folder; random weights");
  v->Path("tokenizer", &s->tokenizer,
          "with config: folder or tokenizer.json that made the token files");
  v->Real("initializer_range", &s->initializer_range, 0, 100,
          "standard deviation of new matrices; 0: the config's");
}

void VisitDatasets(KeyVisitor* v, std::vector<DatasetEntry>* list) {
  v->List(
      "datasets", list->size(), [=](size_t n) { list->resize(n); },
      [=](size_t i) {
        DatasetEntry* d = &(*list)[i];
        v->Path("path", &d->path, "token file");
        v->Text("name", &d->name, "in logs; empty: the file's name");
        v->Real("weight", &d->weight, 0, 1e12, "share of samples, relative to the others");
      });
}

void VisitData(KeyVisitor* v, DataSection* s) {
  v->Choice("mode", &s->mode, kRowModes,
            "rows are a stream of joined documents, or packed from whole examples");
  v->Flag("doc_reset", &s->doc_reset, "nothing crosses from one document of a row to the next");
  v->Flag("shuffle", &s->shuffle, "another order of rows or examples in every epoch");
  v->Choice("long_examples", &s->long_examples, kLongExamples,
            "what happens to examples longer than a packed row");
  v->Real("max_epochs", &s->max_epochs, 0, 1e6, "times a dataset may be seen; 0: any");
  v->Choice("over_epochs", &s->over_epochs, kEpochRules, "what happens then");
  v->List(
      "phases", s->phases.size(), [=](size_t n) { s->phases.resize(n); },
      [=](size_t i) {
        PhaseEntry* p = &s->phases[i];
        v->Real("until", &p->until, 0, 1, "share of the run's tokens at which it ends");
        v->Count("seq_len", &p->seq_len, 0, limits::kContext, "0: batch.seq_len");
        v->Real("lr_scale", &p->lr_scale, 0, kLargestRate, "times the schedule's rate");
        VisitDatasets(v, &p->datasets);
      });
}

void VisitBatch(KeyVisitor* v, BatchSection* s) {
  v->Count("seq_len", &s->seq_len, 2, limits::kContext, "tokens of a sample");
  v->Count("tokens", &s->tokens, 2, uint64_t{1} << 40, "of one optimizer step");
  v->Count("micro_samples", &s->micro_samples, 1, 1u << 20, "samples of one pass");
}

void VisitOptimizer(KeyVisitor* v, OptimizerSection* s) {
  v->Real("beta1", &s->beta1, 0, 1, "decay of the mean of gradients");
  v->Real("beta2", &s->beta2, 0, 1, "decay of the mean of their squares");
  v->Real("eps", &s->eps, 1e-30, 1, "added to the root of the second");
  v->Real("weight_decay", &s->weight_decay, 0, 100, "of matrices; vectors have none");
  v->Real("clip", &s->clip, 0, 1e9, "largest norm of all gradients; 0: any");
  v->Real("z_loss", &s->z_loss, 0, 1, "weight of logsumexp^2 in the loss");
  v->List(
      "groups", s->groups.size(), [=](size_t n) { s->groups.resize(n); },
      [=](size_t i) {
        GroupEntry* g = &s->groups[i];
        v->Text("match", &g->match, "glob over names of parameters");
        v->Real("lr_scale", &g->lr_scale, 0, kLargestRate, "times the rate");
        v->Real("weight_decay", &g->weight_decay, -1, 100, "-1: as others of its kind");
        v->Flag("frozen", &g->frozen, "not trained");
      });
}

void VisitSchedule(KeyVisitor* v, ScheduleSection* s) {
  v->Choice("kind", &s->kind, kSchedules, "of the learning rate");
  v->Real("lr", &s->lr, 0, kLargestRate, "peak");
  v->Real("min_lr", &s->min_lr, 0, kLargestRate, "at the end");
  v->Real("init_lr", &s->init_lr, 0, kLargestRate, "at the start of the warm-up");
  v->Count("tokens", &s->tokens, 0, kManyTokens, "of the run");
  v->Count("steps", &s->steps, 0, kManySteps, "the same in optimizer steps");
  v->Real("epochs", &s->epochs, 0, 1e6, "the same in passes over the data");
  v->Count("warmup_tokens", &s->warmup_tokens, 0, kManyTokens, "of the warm-up");
  v->Count("warmup_steps", &s->warmup_steps, 0, kManySteps, "the same in steps");
  v->Count("decay_tokens", &s->decay_tokens, 0, kManyTokens, "of the decay at the end of wsd");
  v->Count("decay_steps", &s->decay_steps, 0, kManySteps, "the same in steps");
  v->Choice("decay_shape", &s->decay_shape, kDecayShapes, "of that decay");
}

void VisitPrecision(KeyVisitor* v, PrecisionSection* s) {
  v->Choice("mode", &s->mode, kPrecisions, "of operands of matrix products; sums are float");
  v->Choice("fp8", &s->fp8, kFp8Scalings, "how fp8 scales: 128x128 and 1x128 blocks, or tensors");
  v->Flag("fp8_power_of_two", &s->fp8_power_of_two, "scales rounded up to powers of two");
  v->Count("fp8_first_bf16", &s->fp8_first_bf16, 0, limits::kLayers, "first blocks in bf16");
  v->Count("fp8_last_bf16", &s->fp8_last_bf16, 0, limits::kLayers, "last blocks in bf16");
}

void VisitRecompute(KeyVisitor* v, RecomputeSection* s) {
  v->Choice("policy", &s->policy, kPolicies,
            "what is computed again on the way back: nothing, the cheap parts of blocks, blocks");
  v->Count("every", &s->every, 1, limits::kLayers, "with full: blocks between kept rows");
}

void VisitCheckpoint(KeyVisitor* v, CheckpointSection* s) {
  v->Count("every_steps", &s->every_steps, 0, kManySteps, "0: only at the end");
  v->Count("keep_last", &s->keep_last, 2, 1u << 20, "newest ones that are kept");
  v->Count("keep_every_steps", &s->keep_every_steps, 0, kManySteps, "kept for good; 0: none");
  v->Flag("async", &s->async, "written while training goes on");
}

void VisitOutputs(KeyVisitor* v, Recipe* r) {
  v->Section("log", [=] {
    v->Count("every_steps", &r->log.every_steps, 1, kManySteps, "a line of the log");
    v->Real("spike_factor", &r->log.spike_factor, 0, 1e9,
            "flags a loss above this many running means; 0: none");
  });
  v->Section("eval", [=] {
    v->Count("every_steps", &r->eval.every_steps, 0, kManySteps, "0: never");
    v->Count("tokens", &r->eval.tokens, 0, kManyTokens, "of each dataset; 0: all");
    VisitDatasets(v, &r->eval.datasets);
  });
  v->Section("sample", [=] {
    v->Count("every_steps", &r->sample.every_steps, 0, kManySteps, "0: never");
    v->Texts("prompts", &r->sample.prompts, "texts to continue");
    v->Count("max_new_tokens", &r->sample.max_new_tokens, 1, limits::kContext, "of each");
    v->Real("temperature", &r->sample.temperature, 0, 100, "0: the likeliest token");
  });
}

void VisitLora(KeyVisitor* v, LoraSection* s) {
  v->Count("rank", &s->rank, 0, 4096, "0: all parameters are trained");
  v->Real("alpha", &s->alpha, 0, 1e6, "adapters are scaled by alpha / rank");
  v->Flag("rank_stabilised", &s->rank_stabilised, "by alpha / sqrt(rank) instead");
  v->Texts("target_modules", &s->target_modules,
           "last parts of names of projections, e.g. q_proj; empty: attention, FFN and Mamba-2");
}

void VisitDistill(KeyVisitor* v, DistillSection* s) {
  v->Path("teacher", &s->teacher,
          "model whose next-token distributions are learnt: folder or GGUF file; empty: none");
  v->Path("cache", &s->cache, "or a file of them, as `distill --cache-teacher` writes it");
  v->Choice("teacher_act", &s->teacher_act, kTeacherActs, "arithmetic of the teacher");
  v->Choice("kind", &s->kind, kDistillKinds,
            "KL(teacher || student), KL(student || teacher), or half of each");
  v->Real("temperature", &s->temperature, 0.01, 100, "divides the logits of both");
  v->Real("alpha", &s->alpha, 0, 1, "share of the cross entropy in the loss; the KL has the rest");
  v->Real("hidden_weight", &s->hidden_weight, 0, 1e6,
          "times 1 - cosine of the residual streams of both, mean over blocks; 0: off");
  v->Texts("hidden_blocks", &s->hidden_blocks,
           "those blocks, \"student:teacher\", from 0; empty: all, by their depth");
  v->Real("on_policy", &s->on_policy, 0, 1,
          "share of the rows whose answers the student draws itself, for the teacher to judge");
  v->Count("on_policy_prompt", &s->on_policy_prompt, 1, limits::kContext,
           "tokens of prompts there, where a document is trained from its first token on");
  v->Count("top_k", &s->top_k, 1, 65536, "likeliest ids a token that --cache-teacher keeps");
}

}  // namespace

void VisitKeys(KeyVisitor* v, Recipe* r) {
  v->Text("name", &r->name, "of the run");
  v->Count("seed", &r->seed, 0, INT64_MAX, "of initial weights, order of data and samples");
  v->Section("model", [=] { VisitModel(v, &r->model); });
  v->Section("data", [=] { VisitData(v, &r->data); });
  v->Section("batch", [=] { VisitBatch(v, &r->batch); });
  v->Section("optimizer", [=] { VisitOptimizer(v, &r->optimizer); });
  v->Section("schedule", [=] { VisitSchedule(v, &r->schedule); });
  v->Section("precision", [=] { VisitPrecision(v, &r->precision); });
  v->Section("recompute", [=] { VisitRecompute(v, &r->recompute); });
  v->Section("checkpoint", [=] { VisitCheckpoint(v, &r->checkpoint); });
  VisitOutputs(v, r);
  v->Section("lora", [=] { VisitLora(v, &r->lora); });
  v->Section("distill", [=] { VisitDistill(v, &r->distill); });
}

}  // namespace planish
