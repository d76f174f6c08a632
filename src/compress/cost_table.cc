// SPDX-License-Identifier: Apache-2.0
#include "compress/cost_table.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/limits.h"
#include "base/parallel.h"
#include "compress/candidate.h"
#include "infer/engine.h"
#include "kernels/isa.h"
#include "kernels/machine_peaks.h"
#include "model/run_mode.h"

namespace planish {
namespace {

size_t SliceTokens() { return EngineOptions().step_tokens; }

Seconds Scaled(const Seconds& s, double factor) {
  return {s.median * factor, s.low * factor, s.high * factor};
}

// On the line through (xa, a) and (xb, b) at x; costs are never negative.
Seconds Line(double xa, const Seconds& a, double xb, const Seconds& b, double x) {
  const double t = (x - xa) / (xb - xa);
  const auto at = [t](double u, double v) { return std::max(0.0, u + t * (v - u)); };
  return {at(a.median, b.median), at(a.low, b.low), at(a.high, b.high)};
}

// Sums whose parts of one kind err together, and independently of other kinds.
class SecondsSum {
 public:
  void Add(const Seconds& s, double times) {
    median_ += s.median * times;
    below_ += Square((s.median - s.low) * times);
    above_ += Square((s.high - s.median) * times);
  }
  Seconds total() const {
    return {median_, median_ - std::sqrt(below_), median_ + std::sqrt(above_)};
  }

 private:
  static double Square(double x) { return x * x; }
  double median_ = 0, below_ = 0, above_ = 0;
};

struct Kind {
  std::optional<MixerConfig> mixer;
  size_t count = 0;
};

// What is no block counts once; absent blocks do not.
std::vector<Kind> KindsOf(std::span<const std::optional<MixerConfig>> blocks) {
  std::vector<Kind> kinds{{std::nullopt, 1}};
  for (const auto& block : blocks) {
    if (!block) continue;
    const auto found = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const Kind& kind) { return kind.mixer == block; });
    if (found == kinds.end())
      kinds.push_back({block, 1});
    else
      ++found->count;
  }
  return kinds;
}

std::string NameOf(const std::optional<MixerConfig>& mixer) {
  return mixer ? DumpJson(MixerToJson(mixer)) : "what is no block";
}

Seconds SecondsFromJson(const JsonReader& reader) {
  constexpr double kDay = 86400;
  Seconds s;
  s.median = reader.Number("median", -kDay, kDay);
  s.low = reader.Number("ci95_low", -kDay, kDay);
  s.high = reader.Number("ci95_high", -kDay, kDay);
  if (s.low > s.median) reader.Fail("ci95_low", "at most the median");
  if (s.high < s.median) reader.Fail("ci95_high", "at least the median");
  return s;
}

DType DTypeOf(const JsonReader& reader, const char* key) {
  const auto type = DTypeFromName(reader.String(key));
  if (!type) reader.Fail(key, "a type of weights, e.g. bf16");
  return *type;
}

ActMode ActOf(const JsonReader& reader, const char* key) {
  const std::string name = reader.String(key);
  for (const ActMode act : {ActMode::kF32, ActMode::kBf16, ActMode::kInt8})
    if (name == Name(act)) return act;
  reader.Fail(key, "f32, bf16 or int8");
}

size_t SizeOf(const JsonReader& reader, const char* key, uint64_t low, uint64_t high) {
  return static_cast<size_t>(
      reader.Int(key, static_cast<int64_t>(low), static_cast<int64_t>(high)));
}

}  // namespace

Json SecondsToJson(const Seconds& s) {
  Json json = Json::MakeObject();
  json.Set("median", s.median);
  json.Set("ci95_low", s.low);
  json.Set("ci95_high", s.high);
  return json;
}

std::string Describe(const CostSetting& setting) {
  return setting.is_decode
             ? fmt::format("decode, batch {}, context {}", setting.rows, setting.context)
             : fmt::format("prefill, {} tokens after {}", setting.rows, setting.context);
}

double Seconds::relative_error() const {
  return median > 0 ? std::max(median - low, high - median) / median : 0;
}

Seconds SecondsOf(std::vector<double> samples) {
  PLANISH_CHECK(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const size_t n = samples.size();
  const double median = n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
  // The number of samples below the true median is binomial(n, 1/2): with P(number <= k) <= 2.5 %, it lies above the sample
  // of rank k + 1. Samples too few for that give their whole range.
  double probability = std::pow(0.5, static_cast<double>(n)), below = 0;
  size_t cut = 0;  // that rank
  for (size_t k = 0; k < n / 2; ++k) {
    below += probability;
    if (below > 0.025) break;
    cut = k + 1;
    probability *= static_cast<double>(n - k) / static_cast<double>(k + 1);
  }
  const size_t low = std::max<size_t>(cut, 1) - 1;
  return {median, samples[low], samples[n - 1 - low]};
}

bool CostConditions::operator==(const CostConditions& other) const {
  return cpu == other.cpu && isa == other.isa && threads == other.threads &&
         hidden_size == other.hidden_size && vocab_size == other.vocab_size &&
         weights == other.weights && act == other.act && states.kv == other.states.kv &&
         states.ssm == other.states.ssm && reuse_bytes == other.reuse_bytes;
}

CostConditions ConditionsHere(const ModelConfig& parent, DType weights, std::optional<ActMode> act,
                              const StateTypes& states, size_t reuse_bytes) {
  CostConditions here;
  here.cpu = CpuName();
  here.isa = IsaName();
  here.threads = ThreadCount();
  here.hidden_size = parent.hidden_size;
  here.vocab_size = parent.vocab_size;
  here.weights = weights;
  here.states = states;
  here.reuse_bytes = reuse_bytes;
  if (act) {
    here.act = *act;
  } else {  // what FastestActMode says of any model with such weights
    ModelConfig one;
    one.hidden_size = 64;
    one.vocab_size = 64;
    one.tie_embeddings = true;
    Model model(one);
    model.VisitParams([&](const Param& param) {
      if (param.weight != nullptr) *param.weight = Weight(param.name, 64, 64, weights);
    });
    here.act = FastestActMode(&model);
  }
  return here;
}

CostSetting Canonical(const std::optional<MixerConfig>& mixer, CostSetting setting) {
  if (!mixer || !std::holds_alternative<AttentionConfig>(*mixer)) setting.context = 0;
  return setting;
}

void CostTable::Add(CostEntry entry) {
  entry.setting = Canonical(entry.mixer, entry.setting);
  for (CostEntry& old : entries_) {
    if (old.mixer == entry.mixer && old.setting == entry.setting) {
      old = std::move(entry);
      return;
    }
  }
  entries_.push_back(std::move(entry));
}

std::optional<Seconds> CostTable::Find(const std::optional<MixerConfig>& mixer,
                                       const CostSetting& asked) const {
  const CostSetting setting = Canonical(mixer, asked);
  std::vector<const CostEntry*> near;
  for (const CostEntry& entry : entries_) {
    if (entry.mixer != mixer || entry.setting.is_decode != setting.is_decode ||
        entry.setting.rows != setting.rows)
      continue;
    if (entry.setting.context == setting.context) return entry.seconds;
    near.push_back(&entry);
  }
  if (near.size() < 2) return std::nullopt;
  // The two nearest measured ones, on both sides if there are two sides.
  std::sort(near.begin(), near.end(), [](const CostEntry* a, const CostEntry* b) {
    return a->setting.context < b->setting.context;
  });
  size_t right = 1;
  while (right + 1 < near.size() && near[right]->setting.context < setting.context) ++right;
  return Line(static_cast<double>(near[right - 1]->setting.context), near[right - 1]->seconds,
              static_cast<double>(near[right]->setting.context), near[right]->seconds,
              static_cast<double>(setting.context));
}

bool CostTable::Has(const std::optional<MixerConfig>& mixer, const CostSetting& asked) const {
  const CostSetting setting = Canonical(mixer, asked);
  return std::any_of(entries_.begin(), entries_.end(), [&](const CostEntry& entry) {
    return entry.mixer == mixer && entry.setting == setting;
  });
}

Seconds CostTable::Step(std::span<const std::optional<MixerConfig>> blocks,
                        const CostSetting& setting) const {
  SecondsSum sum;
  for (const Kind& kind : KindsOf(blocks)) {
    const auto found = Find(kind.mixer, setting);
    if (!found)
      throw RuntimeError("the cost table has no {} for {}", Describe(setting), NameOf(kind.mixer));
    sum.Add(*found, static_cast<double>(kind.count));
  }
  return sum.total();
}

std::vector<CostSetting> PromptSettings(size_t tokens) {
  const size_t slice = std::min(SliceTokens(), tokens);
  std::vector<CostSetting> settings{{.is_decode = false, .rows = slice, .context = 0},
                                    {.is_decode = true, .rows = 1, .context = 0}};
  // A second point for attention's line, at the last whole slice.
  if (tokens > slice)
    settings.push_back(
        {.is_decode = false, .rows = slice, .context = (tokens - 1) / slice * slice});
  return settings;
}

std::optional<Seconds> PromptSeconds(const CostTable& table,
                                     const std::optional<MixerConfig>& mixer, size_t tokens) {
  const size_t slice = std::min(SliceTokens(), tokens);
  Seconds all;
  for (size_t done = 0; done < tokens; done += slice) {
    const auto one = table.Find(mixer, {.is_decode = false, .rows = slice, .context = done});
    if (!one) return std::nullopt;
    // A last short slice costs its share: prompts are bound by arithmetic.
    const double share =
        static_cast<double>(std::min(slice, tokens - done)) / static_cast<double>(slice);
    const Seconds part = Scaled(*one, share);
    all = {all.median + part.median, all.low + part.low, all.high + part.high};
  }
  if (!mixer) {  // the head of the last row
    const auto head = table.Find(mixer, {.is_decode = true, .rows = 1, .context = 0});
    if (!head) return std::nullopt;
    all = {all.median + head->median, all.low + head->low, all.high + head->high};
  }
  return all;
}

Seconds CostTable::Prompt(std::span<const std::optional<MixerConfig>> blocks, size_t tokens) const {
  SecondsSum sum;
  for (const Kind& kind : KindsOf(blocks)) {
    const auto found = PromptSeconds(*this, kind.mixer, tokens);
    if (!found)
      throw RuntimeError("the cost table has no prompt of {} tokens for {}", tokens,
                         NameOf(kind.mixer));
    sum.Add(*found, static_cast<double>(kind.count));
  }
  return sum.total();
}

Json CostTable::ToJson() const {
  const CostConditions& c = conditions_;
  Json json = Json::MakeObject();
  json.Set("version", 1);
  json.Set("cpu", c.cpu);
  json.Set("isa", c.isa);
  json.Set("threads", c.threads);
  json.Set("hidden_size", static_cast<int64_t>(c.hidden_size));
  json.Set("vocab_size", static_cast<int64_t>(c.vocab_size));
  json.Set("weights", Name(c.weights));
  json.Set("act", Name(c.act));
  json.Set("kv", Name(c.states.kv));
  json.Set("ssm", Name(c.states.ssm));
  json.Set("reuse_bytes", static_cast<int64_t>(c.reuse_bytes));
  Json list = Json::MakeArray();
  for (const CostEntry& entry : entries_) {
    Json e = Json::MakeObject();
    e.Set("mixer", MixerToJson(entry.mixer));
    e.Set("phase", entry.setting.is_decode ? "decode" : "prefill");
    e.Set("rows", static_cast<int64_t>(entry.setting.rows));
    e.Set("context", static_cast<int64_t>(entry.setting.context));
    e.Set("seconds", SecondsToJson(entry.seconds));
    e.Set("copies", static_cast<int64_t>(entry.copies));
    e.Set("samples", static_cast<int64_t>(entry.samples));
    list.Append(std::move(e));
  }
  json.Set("entries", std::move(list));
  return json;
}

CostTable CostTable::FromJson(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  reader.Int("version", 1, 1);
  CostConditions c;
  c.cpu = reader.String("cpu");
  c.isa = reader.String("isa");
  c.threads = static_cast<int>(reader.Int("threads", 1, 1 << 16));
  c.hidden_size = SizeOf(reader, "hidden_size", 1, limits::kHiddenSize);
  c.vocab_size = SizeOf(reader, "vocab_size", 1, limits::kVocabSize);
  c.weights = DTypeOf(reader, "weights");
  c.act = ActOf(reader, "act");
  c.states = {.kv = DTypeOf(reader, "kv"), .ssm = DTypeOf(reader, "ssm")};
  c.reuse_bytes = SizeOf(reader, "reuse_bytes", 0, uint64_t{1} << 50);
  CostTable table(std::move(c));
  for (size_t i = 0; i < reader.Array("entries").size(); ++i) {
    const JsonReader e = reader.Element("entries", i);
    CostEntry entry;
    if (e.Has("mixer")) entry.mixer = MixerFromJson(e.Object("mixer").json(), e.PathOf("mixer"));
    const std::string phase = e.String("phase");
    if (phase != "decode" && phase != "prefill") e.Fail("phase", "decode or prefill");
    entry.setting.is_decode = phase == "decode";
    entry.setting.rows = SizeOf(e, "rows", 1, limits::kContext);
    entry.setting.context = SizeOf(e, "context", 0, limits::kContext);
    entry.seconds = SecondsFromJson(e.Object("seconds"));
    entry.copies = SizeOf(e, "copies", 1, 1 << 20);
    entry.samples = SizeOf(e, "samples", 1, 1 << 30);
    table.Add(std::move(entry));
  }
  return table;
}

}  // namespace planish
