// SPDX-License-Identifier: Apache-2.0
// `planish distill`: a student learns the next-token distributions of a teacher, by a recipe with a section [distill], or with a
// few options. `--cache-teacher FILE` writes what the teacher says, for runs that then need no teacher in memory.
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/train_verb.h"
#include "cli/training_tokens.h"
#include "cli/verbs.h"
#include "train/distill_recipe.h"
#include "train/report.h"
#include "train/run_log.h"
#include "train/teacher_cache.h"

namespace planish {
namespace {

class DistillVerb : public TrainVerb {
 public:
  const char* name() const override { return "distill"; }
  const char* group() const override { return "shrink"; }
  const char* summary() const override {
    return "a small model learns from a large one: its distributions, online or cached";
  }
  const char* examples() const override {
    return "  planish distill -m pruned --teacher models/planish-nano --data docs.jsonl --tokens "
           "2000000 -o runs/recovered\n"
           "  planish distill -m pruned --teacher models/planish-nano --data chats.jsonl --tokens "
           "2000000 --on-policy 0.25 --kind reverse_kl -o runs/own-answers\n"
           "  planish distill distill.toml --cache-teacher teacher.cache\n"
           "  planish distill distill.toml --cache teacher.cache -o runs/recovered";
  }

 protected:
  void DeclareMore(OptionSet* options) override {
    options->Group("Teacher (short for --set distill.*)");
    options->Text("--teacher", &teacher_, "model to learn from: Hugging Face folder or GGUF file");
    options->Choice("--teacher-act", &act_, {"f32", "bf16", "int8"}, "arithmetic of the teacher");
    options->Choice("--kind", &kind_, {"forward_kl", "reverse_kl", "mixed"},
                    "KL(teacher || student), KL(student || teacher), or half of each");
    options->Real("--temperature", &temperature_, 0.01, 100, "divides the logits of both");
    options->Real("--alpha", &alpha_, 0, 1, "share of the cross entropy in the loss");
    options->Real("--hidden-weight", &hidden_weight_, 0, 1e6,
                  "weight of 1 - cosine of the residual streams, where widths differ through a "
                  "projector that is learnt too; 0: off");
    options->Real("--on-policy", &on_policy_, 0, 1,
                  "share of the rows whose answers the student draws itself, for the teacher to "
                  "judge; in chats the prompts are what is not trained");
    options->Int("--top-k", &top_k_, 1, 65536, "ids a token that --cache-teacher keeps");
    options->Text("--cache", &cache_, "learn from this file instead of a teacher in memory");
    options->Text("--cache-teacher", &cache_to_,
                  "write such a file for the run, of 4 + 6 top_k bytes a trained token, and exit");
    options->Group("Without a recipe");
    options->Text("-m,--model", &student_, "student: Hugging Face folder or GGUF file");
    options->TextList("--data", &data_,
                      "what to train on: JSONL with \"text\" or \"messages\", text files, folders, "
                      "or a token file; may be repeated");
    options->TextList("--held-out", &held_out_, "the same, to evaluate on");
    options->Int("--tokens", &tokens_, 1, int64_t{1} << 50, "length of the run");
    options->Real("--lr", &lr_, 0, 1e3, "peak of the learning rate");
    options->Int("--seq-len", &seq_len_, 2, int64_t{1} << 24, "tokens of a row");
    options->Int("--batch-tokens", &batch_tokens_, 2, int64_t{1} << 40, "tokens of a step");
    options->Flag("--json", &json_, "result as one JSON object on stdout");
  }

  void AddSettings(const OptionSet& options, std::vector<std::string>* settings) const override {
    const auto add = [&](const char* option, const char* key, const std::string& value) {
      if (options.WasGiven(option)) settings->push_back(fmt::format("distill.{}={}", key, value));
    };
    const auto quoted = [](const std::string& text) {
      std::string out;
      AppendJsonString(text, &out);
      return out;
    };
    if (!cache_.empty() && !teacher_.empty())
      throw UsageError("--teacher and --cache contradict each other, expected one of them");
    // A cache takes the place of the recipe's teacher.
    if (!cache_.empty()) settings->push_back("distill.teacher=\"\"");
    add("--teacher", "teacher", quoted(teacher_));
    add("--cache", "cache", quoted(cache_));
    add("--teacher-act", "teacher_act", quoted(act_));
    add("--kind", "kind", quoted(kind_));
    add("--temperature", "temperature", PythonFloat(temperature_));
    add("--alpha", "alpha", PythonFloat(alpha_));
    add("--hidden-weight", "hidden_weight", PythonFloat(hidden_weight_));
    add("--on-policy", "on_policy", PythonFloat(on_policy_));
    add("--top-k", "top_k", std::to_string(top_k_));
  }

  std::optional<Recipe> RecipeOfOptions(const OptionSet&) const override {
    if (student_.empty() && data_.empty()) return std::nullopt;
    const std::pair<const char*, bool> needed[] = {
        {"-m STUDENT", student_.empty()},
        {"--teacher MODEL", teacher_.empty() && cache_.empty()},
        {"--data FILE", data_.empty()},
        {"--tokens N", tokens_ == 0},
        {"-o FOLDER", output().empty() && cache_to_.empty()}};
    for (const auto& [option, is_missing] : needed)
      if (is_missing)
        throw Error(ExitCode::kUsage, fmt::format("{} is missing", option),
                    "planish distill -m STUDENT --teacher TEACHER --data FILE --tokens N -o RUN");
    const std::string base = output().empty() ? cache_to_ + ".data" : output() + "/data";
    const TrainingTokens train = MakeTrainingTokens(data_, student_, base + "/train.tokens");
    const std::string held_out =
        held_out_.empty() ? ""
                          : MakeTrainingTokens(held_out_, student_, base + "/held_out.tokens").path;
    return DistillRecipe({.student = student_,
                          .teacher = teacher_,
                          .token_file = train.path,
                          .held_out = held_out,
                          .tokens = static_cast<uint64_t>(tokens_),
                          .lr = lr_,
                          .seq_len = static_cast<uint64_t>(seq_len_),
                          .batch_tokens = static_cast<uint64_t>(batch_tokens_),
                          .is_packed = train.is_chat,
                          .distill = {.cache = cache_}});
  }

  void Check(const Recipe& recipe) const override {
    if (!recipe.distill.is_on())
      throw Error(ExitCode::kUsage, "distill needs a teacher: distill.teacher is not given",
                  "--teacher MODEL");
    if (!cache_to_.empty() && recipe.distill.teacher.empty())
      throw UsageError("--cache-teacher needs a teacher: distill.teacher is not given");
    if (!cache_to_.empty() && recipe.distill.on_policy > 0)
      throw Error(ExitCode::kUsage,
                  "--cache-teacher knows no answers that the student has yet to draw: "
                  "distill.on_policy is above 0",
                  "--on-policy 0");
  }

  std::optional<ExitCode> RunInstead(const Recipe& recipe,
                                     const std::function<bool()>& is_stop_asked) override {
    if (cache_to_.empty()) return std::nullopt;
    if (FileExists(cache_to_))
      throw Error(ExitCode::kUsage, fmt::format("{} is there already", Quoted(cache_to_, 300)),
                  "another name, or remove it");
    const CacheReport report = CacheTeacher(recipe, cache_to_, is_stop_asked);
    if (json_) {
      Json json = Json::MakeObject();
      json.Set("is_complete", report.is_complete);
      json.Set("samples", report.samples);
      json.Set("bytes", report.bytes);
      json.Set("mean_rest", report.mean_rest);
      json.Set("full_kl", report.full_kl);
      json.Set("cached_kl", report.cached_kl);
      fmt::print("{}\n", DumpJson(json));
    }
    LogInfo(
        "{}: {} samples, {:.1f} MB; other ids have {:.4f} of the probability; KL of the first "
        "batch "
        "{:.5f} of whole distributions, {:.5f} of what is kept",
        cache_to_, report.samples, static_cast<double>(report.bytes) / 1e6, report.mean_rest,
        report.full_kl, report.cached_kl);
    if (report.is_complete) return ExitCode::kOk;
    LogInfo("stopped; the same command goes on");
    return ExitCode::kInterrupted;
  }

  void Finish(const Recipe& recipe, const std::string& folder) const override {
    const RunLog log = ReadRunLog(folder);
    WriteFile(folder + "/distill.html", ReportHtml({{recipe.name, log}}, "Distillation"));
    const std::string json = DumpJson(Result(recipe, log));
    WriteFile(folder + "/distill.json", json + "\n");
    if (json_) fmt::print("{}\n", json);
  }

 private:
  static Json Figures(const StepRecord& step) {
    Json json = Json::MakeObject();
    json.Set("step", step.step);
    json.Set("tokens", step.tokens);
    json.Set("loss", step.loss);
    if (step.distill) {
      json.Set("kl", step.distill->kl);
      json.Set("ce", step.distill->ce);
      json.Set("hidden", step.distill->hidden);
      json.Set("agreement", step.distill->agreement);
    }
    json.Set("tokens_per_s", step.tokens_per_s);
    return json;
  }

  static Json Result(const Recipe& recipe, const RunLog& log) {
    Json json = Json::MakeObject();
    json.Set("version", ProgramVersion());
    if (!log.steps.empty()) {
      json.Set("first", Figures(log.steps.front()));
      json.Set("last", Figures(log.steps.back()));
    }
    Json evals = Json::MakeArray();
    for (const EvalRecord& eval : log.evals) {
      Json entry = Json::MakeObject();
      entry.Set("step", eval.step);
      entry.Set("name", eval.name);
      entry.Set("loss", eval.loss);
      entry.Set("kl", eval.kl);
      entry.Set("agreement", eval.agreement);
      evals.Append(std::move(entry));
    }
    json.Set("held_out", std::move(evals));
    Json settings = Json::MakeObject();
    for (const auto& [key, value] : ValuesOf(recipe)) settings.Set(key, value);
    json.Set("recipe", std::move(settings));
    return json;
  }

  std::string teacher_, act_ = "bf16", kind_ = "forward_kl", cache_, cache_to_, student_;
  std::vector<std::string> data_, held_out_;
  double temperature_ = 1, alpha_ = 0, hidden_weight_ = 0, on_policy_ = 0, lr_ = 3e-4;
  int64_t top_k_ = 64, tokens_ = 0, seq_len_ = 512, batch_tokens_ = 8192;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeDistill() { return std::make_unique<DistillVerb>(); }

}  // namespace planish
