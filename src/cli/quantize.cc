// SPDX-License-Identifier: Apache-2.0
// `planish quantize`: a model's matrices in fewer bits, with calibration on text where the method wants it.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "cli/model_options.h"
#include "cli/verbs.h"
#include "compress/output_folder.h"
#include "compress/quantize_report.h"
#include "model/export.h"

namespace planish {
namespace {

constexpr QuantizeMethod kMethods[] = {QuantizeMethod::kRtn,     QuantizeMethod::kClip,
                                       QuantizeMethod::kAwq,     QuantizeMethod::kGptq,
                                       QuantizeMethod::kAwqGptq, QuantizeMethod::kSmoothQuant};

QuantizeMethod MethodOf(const std::string& name) {
  return *std::find_if(std::begin(kMethods), std::end(kMethods),
                       [&](QuantizeMethod method) { return name == Name(method); });
}

uint64_t FileBytesOf(const std::string& path) {
  if (!IsDirectory(path)) return std::filesystem::file_size(path);
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  return bytes;
}

class QuantizeVerb : public Verb {
 public:
  const char* name() const override { return "quantize"; }
  const char* group() const override { return "shrink"; }
  const char* summary() const override {
    return "a model in fewer bits: round to nearest, AWQ, GPTQ, SmoothQuant, FP8";
  }
  const char* examples() const override {
    return "  planish quantize -m my-model -o my-model.q4_0.gguf --type q4_0 --method awq-gptq "
           "--data docs.jsonl\n  planish quantize -m my-model -o my-model.fp8 --type fp8";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    options->Text("-o,--output", &output_,
                  "FILE.gguf, or a folder for --type fp8; beside it FILE.quantize.json and "
                  "FILE.quantize.html say what it cost",
                  true);
    options->Group("Storage");
    options->Choice("--type", &type_,
                    {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                     "iq4_nl", "iq4_xs", "fp8"},
                    "of the blocks' matrices; the embedding gets at least q8_0, the head q6_k");
    options->Choice(
        "--group", &group_, {"block", "64", "128", "row"},
        "weights that share a scale: those of the type's own block, 64, 128, or a whole "
        "row (q8_0, q4_0, q5_0, iq4_nl); of fp8: block is 128 x 128 tiles, or row");
    options->TextList("--keep", &keeps_,
                      "PATTERN=TYPE: other types for some matrices, by name with * for anything; "
                      "or embedding, head, dt (Mamba-2's in_proj, which sets the decay)");
    options->Group("Method");
    options->Choice("--method", &method_, {"rtn", "clip", "awq", "gptq", "awq-gptq", "smoothquant"},
                    "rtn: nearest values, as llama.cpp; clip: scales by least squares, weighted by "
                    "the inputs' energy if there is --data; the others need --data");
    options->Real("--alpha", &alpha_, 0, 1, "of smoothquant: share of the inputs in the scale");
    options->Real("--damping", &damping_, 1e-6, 1, "of gptq, times the mean of H's diagonal");
    options->Group("Calibration");
    options->TextList("--data", &data_,
                      "text for calibration and evaluation: JSONL (text or messages), text, token "
                      "files, folders");
    options->Int("--samples", &samples_, 1, 1 << 20, "rows of calibration text");
    options->Int("--seq-len", &seq_len_, 2, static_cast<int64_t>(limits::kContext),
                 "tokens of a row");
    options->Int("--eval-samples", &eval_samples_, 0, 1 << 20,
                 "rows of held-out text (a tenth of --data) for KL and perplexity; 0: none");
    options->Int("--seed", &seed_, 0, INT64_MAX, "of the choice of rows");
    options->Flag("--exact", &exact_, "calibration passes in float instead of bf16");
    options->Flag("--json", &json_, "one JSON object");
  }

  ExitCode Run(const OptionSet& options) override {
    CheckOptions(options);
    Stopwatch watch;
    QuantizeReport report;
    report.version = ProgramVersion();
    Pretrained opened = model_.Open(/*needs_tokenizer=*/!data_.empty());
    report.model = opened.name;
    report.output = std::filesystem::path(output_).filename().string();
    report.type = Describe(Base());
    report.method = MethodOf(method_);
    report.options = OptionsJson();
    report.source_bytes = opened.file_bytes;
    std::optional<CalibrationRows> rows, held_out;
    if (!data_.empty()) {
      const CalibrationOptions wanted{.inputs = data_,
                                      .samples = static_cast<size_t>(samples_),
                                      .seq_len = static_cast<size_t>(seq_len_),
                                      .seed = static_cast<uint64_t>(seed_),
                                      .held_out = 0.1};
      if (report.method != QuantizeMethod::kRtn) rows = ReadCalibration(opened, wanted);
      if (eval_samples_ > 0)
        held_out = ReadHeldOut(opened, wanted, static_cast<size_t>(eval_samples_));
    }
    if (rows) {
      report.calibration = rows->description;
      report.calibration_hash = rows->hash;
    }
    {
      std::unique_ptr<Progress> line;
      QuantizeOptions how;
      how.method = report.method;
      how.storage = PlanStorage(opened.model.get(), {.base = Base(), .keeps = keeps_});
      how.smooth_alpha = alpha_;
      how.damping = damping_;
      how.precision = exact_ ? Precision::kF32 : Precision::kBf16;
      how.progress = [&](size_t done, size_t total) {
        if (line == nullptr) line = std::make_unique<Progress>("quantize", total, "blocks");
        line->Update(done);
      };
      report.tensors = QuantizeModel(&opened, how, rows ? &*rows : nullptr);
    }
    Write(&opened);
    report.bytes = FileBytesOf(output_);
    watch.Lap(&report.seconds);
    if (held_out) Evaluate(*held_out, &report);
    watch.Lap(&report.evaluation_seconds);
    WriteFile(output_ + ".quantize.html", ReportPage(report));
    const Json json = ReportJson(report);
    WriteFile(ReportPath(), DumpJson(json, JsonStyle::kPython, 1) + "\n");
    if (json_)
      fmt::print("{}\n", DumpJson(json));
    else
      fmt::print("{}", ReportText(report));
    return ExitCode::kOk;
  }

 private:
  std::string ReportPath() const { return output_ + ".quantize.json"; }

  void CheckOptions(const OptionSet& options) const {
    const bool is_fp8 = type_ == "fp8";
    if (is_fp8 == output_.ends_with(".gguf"))
      throw UsageError("{}: --type {} is written as {}", Quoted(output_, 300), type_,
                       is_fp8 ? "a folder (GGUF has no FP8)" : "FILE.gguf");
    if (is_fp8 && (method_ == "gptq" || method_ == "awq-gptq" || method_ == "clip"))
      throw UsageError(
          "--method {} chooses among the values of a grid; fp8 takes rtn, awq or "
          "smoothquant",
          method_);
    if (is_fp8 && (group_ == "64")) throw UsageError("--group of fp8 is block, 128 or row");
    if (NeedsData(MethodOf(method_)) && data_.empty())
      throw Error(ExitCode::kUsage, fmt::format("--method {} needs --data FILE", method_),
                  "text like what the model will see");
    if (options.WasGiven("--alpha") && method_ != "smoothquant")
      throw UsageError("--alpha is of --method smoothquant");
    if (FileExists(output_) || IsDirectory(output_)) {
      if (!FileExists(ReportPath()))
        throw Error(ExitCode::kUsage,
                    fmt::format("{} exists and was not made by quantize", Quoted(output_, 300)),
                    "another -o, or remove it");
    }
    std::error_code ignored;
    if (std::filesystem::equivalent(output_, model_.Path(), ignored))
      throw UsageError("{} is both input and output", Quoted(output_, 300));
  }

  StorageType Base() const {
    const size_t shared = group_ == "block" ? 0
                          : group_ == "row" ? StorageType::kRow
                                            : static_cast<size_t>(std::stoul(group_));
    if (type_ == "fp8") return {DType::kF8E4M3, shared == 0 ? 128 : shared};
    return {*DTypeFromName(type_), shared};
  }

  Json OptionsJson() const {
    Json json = Json::MakeObject();
    json.Set("group", group_);
    Json keeps = Json::MakeArray();
    for (const std::string& keep : keeps_) keeps.Append(keep);
    json.Set("keep", std::move(keeps));
    json.Set("alpha", alpha_);
    json.Set("damping", damping_);
    json.Set("samples", samples_);
    json.Set("seq_len", seq_len_);
    json.Set("seed", seed_);
    json.Set("precision", exact_ ? "f32" : "bf16");
    return json;
  }

  void Write(Pretrained* opened) const {
    if (type_ != "fp8") return ExportGguf(opened, output_, std::nullopt);
    OutputFolder folder(output_, "quantize", ReportPath());
    ExportHf(opened, folder.part(), std::nullopt, uint64_t{4} << 30, {.keeps_fp8 = true});
    folder.Commit();
  }

  // What was written is opened again, so that the figures are those of the file.
  void Evaluate(const CalibrationRows& rows, QuantizeReport* report) const {
    const Pretrained reference = model_.Open(/*needs_tokenizer=*/false);
    const Pretrained written = OpenPretrained(output_, {.needs_tokenizer = false});
    Progress progress("evaluate", rows.rows.size(), "rows");
    Divergence sum;
    for (size_t r = 0; r < rows.rows.size(); ++r) {
      progress.Update(r);
      sum.Add(CompareModels(*written.model, *reference.model, {&rows.rows[r], 1}));
    }
    report->held_out = rows.description;
    report->divergence = std::move(sum);
  }

  ModelOptions model_;
  std::string output_, type_ = "q4_0", group_ = "block", method_ = "rtn";
  std::vector<std::string> keeps_, data_;
  double alpha_ = 0.5, damping_ = 0.01;
  int64_t samples_ = 64, seq_len_ = 512, eval_samples_ = 16, seed_ = 0;
  bool exact_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeQuantize() { return std::make_unique<QuantizeVerb>(); }

}  // namespace planish
