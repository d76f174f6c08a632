// SPDX-License-Identifier: Apache-2.0
// `planish quantize`: a model's matrices in fewer bits, with calibration on text where the method wants it.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/quantized_modes.h"
#include "cli/verbs.h"
#include "compress/output_folder.h"
#include "compress/quantize_report.h"
#include "model/export.h"

namespace planish {
namespace {

constexpr QuantizeMethod kMethods[] = {QuantizeMethod::kRtn,     QuantizeMethod::kClip,
                                       QuantizeMethod::kAwq,     QuantizeMethod::kGptq,
                                       QuantizeMethod::kAwqGptq, QuantizeMethod::kSmoothQuant};

constexpr size_t kModeRows = 2;  // of --measure: token by token takes its time

// Of matrices in GGUF files.
constexpr const char* kTypes[] = {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1",   "q2_k",
                                  "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs"};

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
           "--data docs.jsonl\n  planish quantize -m my-model -o mixed.gguf --target-bits 4.5 "
           "--method gptq --data docs.jsonl";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    options->Text("-o,--output", &output_,
                  "FILE.gguf, or a folder for --type fp8; beside it FILE.quantize.json and "
                  "FILE.quantize.html say what it cost",
                  true);
    options->Group("Storage");
    std::vector<std::string> types(std::begin(kTypes), std::end(kTypes));
    types.push_back("fp8");
    options->Choice("--type", &type_, types,
                    "of the blocks' matrices; the embedding gets at least q8_0, the head q6_k");
    options->Choice(
        "--group", &group_, {"block", "64", "128", "row"},
        "weights that share a scale: those of the type's own block, 64, 128, or a whole "
        "row (q8_0, q4_0, q5_0, iq4_nl); of fp8: block is 128 x 128 tiles, or row");
    options->TextList("--keep", &keeps_,
                      "PATTERN=TYPE: other types for some matrices, by name with * for anything; "
                      "or embedding, head, dt (Mamba-2's in_proj, which sets the decay)");
    options->Group("Mixed precision");
    options->Bytes("--target-size", &target_size_,
                   "of the file, instead of --type: each matrix gets the type that an integer "
                   "program chooses, for the least summed KL; needs --data");
    options->Real("--target-bits", &target_bits_, 0, 32,
                  "the same by bits a weight, mean over all matrices; 0: neither");
    options->Text("--types", &types_, "types to choose from, with commas between");
    options->Int("--score-samples", &score_samples_, 1, 1 << 20,
                 "rows of calibration text on which the KL of each rounded matrix is measured");
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
    options->Flag("--measure", &measure_,
                  "also KL and decode speed as it would be run: fast arithmetic, 8-bit KV, bf16 "
                  "states, on the first of these rows");
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
    report.type = IsMixed() ? "mixed" : Describe(Base());
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
      if (report.method != QuantizeMethod::kRtn || IsMixed())
        rows = ReadCalibration(opened, wanted);
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
      how.storage = IsMixed() ? ChooseTypes(&opened, *rows, &report)
                              : PlanStorage(opened.model.get(), {.base = Base(), .keeps = keeps_});
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
  bool IsMixed() const { return target_size_ > 0 || target_bits_ > 0; }

  std::map<std::string, StorageType> ChooseTypes(Pretrained* opened, const CalibrationRows& rows,
                                                 QuantizeReport* report) const {
    PrecisionScoreOptions how;
    for (const std::string& name : SplitAtCommas(types_)) how.types.push_back(*DTypeFromName(name));
    how.kept = KeptTypes(opened->model.get(), keeps_);
    how.rule = report->method == QuantizeMethod::kRtn ? ScaleRule::kLargest : ScaleRule::kFitted;
    how.precision = exact_ ? Precision::kF32 : Precision::kBf16;
    std::unique_ptr<Progress> line;
    how.progress = [&](size_t done, size_t total) {
      if (line == nullptr) line = std::make_unique<Progress>("sensitivity", total, "matrices");
      line->Update(done);
    };
    const size_t scored = std::min<size_t>(rows.rows.size(), static_cast<size_t>(score_samples_));
    report->mixed = MixPrecisions(opened, rows, PartOf(rows, 0, scored),
                                  {.file_bytes = target_size_, .bits = target_bits_}, how);
    return report->mixed->plan.storage;
  }

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
    if (IsMixed()) CheckMixed(options);
    if (options.WasGiven("--measure") && data_.empty())
      throw Error(ExitCode::kUsage, "--measure needs --data FILE",
                  "text that the model is compared on");
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

  void CheckMixed(const OptionSet& options) const {
    if (target_size_ > 0 && target_bits_ > 0)
      throw UsageError("--target-size and --target-bits are two ways to say one thing");
    for (const char* other : {"--type", "--group"})
      if (options.WasGiven(other))
        throw UsageError("{} does not go with a target: each matrix gets a type of --types", other);
    if (data_.empty())
      throw Error(ExitCode::kUsage, "a target needs --data FILE",
                  "text on which each matrix's share in the loss is measured");
    const std::vector<std::string> types = SplitAtCommas(types_);
    if (types.empty()) throw UsageError("--types names no type");
    for (const std::string& name : types)
      if (std::find(std::begin(kTypes), std::end(kTypes), name) == std::end(kTypes))
        throw UsageError("--types: {} is not one of {}", Quoted(name), fmt::join(kTypes, ", "));
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
    if (IsMixed()) {
      json.Set("types", types_);
      json.Set("score_samples", score_samples_);
    }
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
    if (measure_)
      report->modes = MeasureModes(output_, reference,
                                   PartOf(rows, 0, std::min<size_t>(rows.rows.size(), kModeRows)));
    report->held_out = rows.description;
    report->divergence = std::move(sum);
  }

  ModelOptions model_;
  std::string output_, type_ = "q4_0", group_ = "block", method_ = "rtn",
                       types_ = "q3_k,q4_k,q5_k,q6_k,q8_0";
  std::vector<std::string> keeps_, data_;
  uint64_t target_size_ = 0;
  double target_bits_ = 0, alpha_ = 0.5, damping_ = 0.01;
  int64_t samples_ = 64, seq_len_ = 512, eval_samples_ = 16, seed_ = 0, score_samples_ = 4;
  bool exact_ = false, measure_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeQuantize() { return std::make_unique<QuantizeVerb>(); }

}  // namespace planish
