// SPDX-License-Identifier: Apache-2.0
#include "train/run_log.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"

namespace planish {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Members by key, absent ones as their zero; a wrong type is an Error of JsonReader.
class RecordReader {
 public:
  explicit RecordReader(const Json& json, const std::string& where) : reader_(json, where) {}
  uint64_t Count(const char* key) const {
    return static_cast<uint64_t>(reader_.IntOr(key, 0, std::numeric_limits<int64_t>::max(), 0));
  }
  double Real(const char* key) const {  // null: not finite
    const Json* value = reader_.json().Find(key);
    if (value == nullptr) return 0;
    if (value->is_null()) return std::nan("");
    return reader_.Number(key, std::numeric_limits<double>::lowest(),
                          std::numeric_limits<double>::max());
  }
  std::string Text(const char* key) const { return reader_.StringOr(key, ""); }
  bool Has(const char* key) const { return reader_.Has(key); }
  RecordReader Inner(const char* key) const {
    static const Json kNone = Json::MakeObject();
    return reader_.Has(key) ? RecordReader(reader_.Object(key).json(), reader_.where())
                            : RecordReader(kNone, reader_.where());
  }
  const Json::Object& members() const { return reader_.json().AsObject(); }

 private:
  JsonReader reader_;
};

StartRecord ReadStart(const RecordReader& r) {
  return {.time = r.Real("time"),
          .name = r.Text("name"),
          .command = r.Text("command"),
          .version = r.Text("version"),
          .isa = r.Text("isa"),
          .precision = r.Text("precision"),
          .threads = r.Count("threads"),
          .ranks = r.Count("ranks"),
          .parameters = r.Count("parameters"),
          .total_tokens = r.Count("total_tokens"),
          .peak_flops = r.Real("peak_flops"),
          .recipe = r.Text("recipe")};
}

StepRecord ReadStep(const RecordReader& r) {
  const RecordReader ms = r.Inner("ms");
  StepRecord step{
      .time = r.Real("time"),
      .step = r.Count("step"),
      .samples = r.Count("samples"),
      .tokens = r.Count("tokens"),
      .loss = r.Real("loss"),
      .grad_norm = r.Real("grad_norm"),
      .param_norm = r.Real("param_norm"),
      .lr = r.Real("lr"),
      .tokens_per_s = r.Real("tokens_per_s"),
      .mfu = r.Real("mfu"),
      .ms = {ms.Real("data"), ms.Real("forward"), ms.Real("backward"), ms.Real("reduce"),
             ms.Real("optimizer"), ms.Real("loss"), ms.Real("teacher")},
      .rss = r.Count("rss"),
      .skipped = r.Count("skipped"),
      .datasets = {},
      .fp8 = {},
      .distill = {}};
  if (r.Has("distill")) {
    const RecordReader d = r.Inner("distill");
    step.distill = {d.Real("kl"), d.Real("reverse_kl"), d.Real("ce"), d.Real("hidden"),
                    d.Real("agreement")};
  }
  const RecordReader datasets = r.Inner("datasets");
  for (const auto& [name, value] : datasets.members()) {
    const RecordReader item = datasets.Inner(name.c_str());
    step.datasets.push_back({name, item.Real("loss"), item.Count("tokens")});
  }
  const RecordReader fp8 = r.Inner("fp8");
  for (const auto& [name, value] : fp8.members()) {
    const RecordReader item = fp8.Inner(name.c_str());
    step.fp8.push_back({name, item.Real("amax"), item.Count("values"), item.Count("saturated"),
                        item.Count("underflow")});
  }
  return step;
}

void ReadRecord(const Json& json, const std::string& where, RunLog* log) {
  const RecordReader r(json, where);
  std::string kind = r.Text("kind");
  if (kind.empty() && json.Find("step") != nullptr && json.Find("loss") != nullptr) kind = "step";
  const double time = r.Real("time");
  if (kind == "start") {
    log->starts.push_back(ReadStart(r));
  } else if (kind == "step") {
    StepRecord step = ReadStep(r);
    // A run that went back to a checkpoint writes steps again.
    while (!log->steps.empty() && log->steps.back().step >= step.step) log->steps.pop_back();
    log->steps.push_back(std::move(step));
  } else if (kind == "eval") {
    log->evals.push_back({time, r.Count("step"), r.Count("tokens"), r.Text("name"), r.Real("loss"),
                          r.Real("bits_per_byte"), r.Real("kl"), r.Real("agreement")});
  } else if (kind == "sample") {
    log->samples.push_back(
        {time, r.Count("step"), r.Count("tokens"), r.Text("prompt"), r.Text("text")});
  } else if (kind == "event") {
    log->events.push_back({time, r.Count("step"), r.Text("event"), r.Text("message")});
  } else if (kind == "end") {
    log->ends.push_back(
        {time, r.Count("step"), r.Count("tokens"), r.Text("reason"), r.Real("seconds")});
  }
}

}  // namespace

RunLogWriter::RunLogWriter(const std::string& path, uint64_t offset) : file_(path, offset) {}

void RunLogWriter::WriteLine(const char* kind, Json::Object members) {
  Json json = Json::MakeObject();
  json.Set("kind", kind);
  json.Set("time", std::round(Now() * 1000) / 1000);
  for (auto& [key, value] : members) json.AsObject().emplace_back(key, std::move(value));
  try {
    file_.Append(DumpJson(json) + "\n");
  } catch (const Error& error) {
    if (!has_warned_)
      LogWarning("{}; the run goes on, lines of its log may be missing", error.what());
    has_warned_ = true;
  }
}

void RunLogWriter::Write(const StartRecord& r) {
  WriteLine("start", {{"name", r.name},
                      {"command", r.command},
                      {"version", r.version},
                      {"isa", r.isa},
                      {"threads", r.threads},
                      {"ranks", r.ranks},
                      {"precision", r.precision},
                      {"parameters", r.parameters},
                      {"total_tokens", r.total_tokens},
                      {"peak_flops", Number(r.peak_flops)},
                      {"recipe", r.recipe}});
}

void RunLogWriter::Write(const StepRecord& r) {
  Json::Object datasets;
  for (const DatasetLoss& item : r.datasets) {
    datasets.emplace_back(item.name,
                          Json::Object{{"loss", Number(item.loss)}, {"tokens", item.tokens}});
  }
  Json::Object ms = {{"data", Number(r.ms.data)},           {"forward", Number(r.ms.forward)},
                     {"backward", Number(r.ms.backward)},   {"reduce", Number(r.ms.reduce)},
                     {"optimizer", Number(r.ms.optimizer)}, {"loss", Number(r.ms.loss)}};
  if (r.distill) ms.emplace_back("teacher", Number(r.ms.teacher));
  Json::Object members = {{"step", r.step},
                          {"samples", r.samples},
                          {"tokens", r.tokens},
                          {"loss", Number(r.loss)},
                          {"grad_norm", Number(r.grad_norm)},
                          {"param_norm", Number(r.param_norm)},
                          {"lr", Number(r.lr)},
                          {"tokens_per_s", Number(r.tokens_per_s)},
                          {"mfu", Number(r.mfu)},
                          {"ms", std::move(ms)},
                          {"rss", r.rss},
                          {"skipped", r.skipped},
                          {"datasets", std::move(datasets)}};
  Json::Object fp8;
  for (const Fp8Record& item : r.fp8) {
    fp8.emplace_back(item.name, Json::Object{{"amax", Number(item.amax)},
                                             {"values", item.values},
                                             {"saturated", item.saturated},
                                             {"underflow", item.underflow}});
  }
  if (!fp8.empty()) members.emplace_back("fp8", std::move(fp8));
  if (r.distill)
    members.emplace_back("distill", Json::Object{{"kl", Number(r.distill->kl)},
                                                 {"reverse_kl", Number(r.distill->reverse_kl)},
                                                 {"ce", Number(r.distill->ce)},
                                                 {"hidden", Number(r.distill->hidden)},
                                                 {"agreement", Number(r.distill->agreement)}});
  WriteLine("step", std::move(members));
}

void RunLogWriter::Write(const EvalRecord& r) {
  Json::Object members = {{"step", r.step},
                          {"tokens", r.tokens},
                          {"name", r.name},
                          {"loss", Number(r.loss)},
                          {"bits_per_byte", Number(r.bits_per_byte)}};
  if (r.kl != 0 || r.agreement != 0) {
    members.emplace_back("kl", Number(r.kl));
    members.emplace_back("agreement", Number(r.agreement));
  }
  WriteLine("eval", std::move(members));
}

void RunLogWriter::Write(const SampleRecord& r) {
  WriteLine("sample",
            {{"step", r.step}, {"tokens", r.tokens}, {"prompt", r.prompt}, {"text", r.text}});
}

void RunLogWriter::Write(const EventRecord& r) {
  WriteLine("event", {{"step", r.step}, {"event", r.event}, {"message", r.message}});
}

void RunLogWriter::Write(const EndRecord& r) {
  WriteLine("end", {{"step", r.step},
                    {"tokens", r.tokens},
                    {"reason", r.reason},
                    {"seconds", Number(r.seconds)}});
}

RunLog ReadRunLog(const std::string& path) {
  RunLog log;
  log.path = IsDirectory(path) ? path + "/log.jsonl" : path;
  const auto file = FileBytes::Open(log.path, FileBytes::Access::kRead);
  std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->size());
  size_t records = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    try {
      const Json json = ParseJson(line, log.path);
      if (!json.is_object()) throw BadFile("{}: not an object", log.path);
      ReadRecord(json, log.path, &log);
      ++records;
    } catch (const Error&) {
      ++log.bad_lines;
    }
  }
  if (records == 0) throw BadFile("{}: holds no record of a training run", Quoted(log.path, 300));
  return log;
}

}  // namespace planish
