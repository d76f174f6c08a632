// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_serve.h"

#include <cmath>

#include "base/file.h"
#include "base/progress.h"
#include "serve/load_report.h"
#include "serve/load_run.h"

namespace planish {
namespace {

constexpr uint64_t kFileBytes = 2ull << 30;

// Ids at both ends of vocabularies are often special tokens, which some servers refuse or end at.
constexpr int64_t kEndsShare = 16;

double Rate(const std::string& text) {
  if (text == "inf") return 0;
  size_t used = 0;
  double rate = -1;
  try {
    rate = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (used != text.size() || !(rate > 0) || !std::isfinite(rate))
    throw UsageError("--request-rate is {}, expected a number above 0, or inf", Quoted(text));
  return rate;
}

}  // namespace

struct ServeBench::Served {
  std::string model;
  int64_t vocabulary = 0;  // 0: not said
  bool has_thinking = true;
};

void ServeBench::Declare(OptionSet* options) {
  const auto context = static_cast<int64_t>(limits::kContext);
  options->Group("With serve: load on a running server");
  options->Text("--url", &url_, "the server, e.g. http://127.0.0.1:8080");
  options->Text("--api-key", &key_, "its key");
  options->Text("--name", &name_, "the model to ask it for; default: its first");
  options->Choice("--dataset", &dataset_, {"random", "sharegpt-file", "multiturn"},
                  "random token ids, a file of conversations, or chats of several turns");
  options->Text("--dataset-path", &file_, "file of sharegpt-file");
  options->Int("--input-len", &input_, 1, context, "tokens of a prompt, or of a turn's message");
  options->Int("--output-len", &output_, 1, context, "tokens of an answer");
  options->Int("--num-prompts", &prompts_, 1, 1'000'000, "requests, or chats of several turns");
  options->Text("--request-rate", &rate_, "requests that come in a second, or inf");
  options->Int("--concurrency", &concurrency_, 1, 4096, "requests at a time");
  options->Int("--turns", &turns_, 1, 1000, "turns of a chat");
  options->Int("--system-len", &system_, 0, context, "tokens of the system prompt of all chats");
  options->Int("--budget", &budget_, -1, context,
               "tokens of reasoning in chats; -1: no limit, 0: thinking off");
  options->Text("--goodput", &goodput_, "bounds in ms for request_goodput, e.g. ttft:500,tpot:50");
  options->Int("--num-warmups", &warmups_, 0, 1000, "requests before, that do not count");
  options->Int("--seed", &seed_, 0, INT64_MAX, "same seed, same requests");
  options->Int("--vocabulary", &vocabulary_, 0, static_cast<int64_t>(limits::kVocabSize),
               "token ids of random prompts; 0: what the server says");
}

ServeBench::Served ServeBench::Ask(ChatClient* client) const {
  Served served;
  served.model = name_;
  const Json models = client->Get("/v1/models");
  const Json* data = models.Find("data");
  if (data == nullptr || !data->is_array()) return served;
  for (const Json& entry : data->AsArray()) {
    const Json* id = entry.Find("id");
    if (id == nullptr || !id->is_string() || (!name_.empty() && id->AsString() != name_)) continue;
    served.model = id->AsString();
    const Json* meta = entry.Find("meta");
    if (meta == nullptr) break;
    const Json *vocabulary = meta->Find("n_vocab"), *thinking = meta->Find("thinking");
    if (vocabulary != nullptr && vocabulary->type() == Json::Type::kInt)
      served.vocabulary = vocabulary->AsInt();
    const Json* supported = thinking == nullptr ? nullptr : thinking->Find("supported");
    if (supported != nullptr && supported->is_bool()) served.has_thinking = supported->AsBool();
    break;
  }
  return served;
}

Workload ServeBench::MakeWorkload(ChatClient* client, const Served& served) const {
  const WorkloadOptions options{.model = served.model,
                                .sessions = static_cast<size_t>(prompts_),
                                .input_tokens = static_cast<size_t>(input_),
                                .output_tokens = static_cast<size_t>(output_),
                                .seed = static_cast<uint64_t>(seed_)};
  if (dataset_ == "random") {
    const int64_t vocabulary = vocabulary_ > 0 ? vocabulary_ : served.vocabulary;
    if (vocabulary < 2 * kEndsShare)
      throw UsageError("{} does not say how many tokens its model has: give --vocabulary", url_);
    const int64_t cut = vocabulary / kEndsShare;
    return RandomWorkload(options, static_cast<int32_t>(cut),
                          static_cast<int32_t>(vocabulary - cut));
  }
  if (dataset_ == "multiturn") {
    return MultiturnWorkload(options, {.turns = static_cast<size_t>(turns_),
                                       .system_tokens = static_cast<size_t>(system_),
                                       .thinks = served.has_thinking && budget_ != 0,
                                       .thinking_budget = budget_});
  }
  if (file_.empty()) throw UsageError("--dataset sharegpt-file wants --dataset-path FILE");
  // planish and llama-server count tokens; elsewhere about four bytes are one.
  bool counts = true;
  const auto count_tokens = [&](const std::string& text) -> size_t {
    if (counts) {
      try {
        Json body = Json::MakeObject();
        body.Set("content", text);
        const Json answer = client->Post("/tokenize", body);
        if (const Json* tokens = answer.Find("tokens"); tokens != nullptr && tokens->is_array())
          return tokens->AsArray().size();
      } catch (const ServerError&) {
      }
      counts = false;
    }
    return text.size() / 4 + 1;
  };
  return ShareGptWorkload(options, ReadFile(file_, kFileBytes), file_, count_tokens);
}

ExitCode ServeBench::Run(const std::string& output) const {
  std::optional<Goodput> goodput;
  if (!goodput_.empty()) goodput = ParseGoodput(goodput_);
  LoadOptions load{.url = url_,
                   .key = key_,
                   .concurrency = static_cast<size_t>(concurrency_),
                   .request_rate = Rate(rate_),
                   .seed = static_cast<uint64_t>(seed_)};
  ChatClient client(url_, key_);
  const Served served = Ask(&client);
  const Workload workload = MakeWorkload(&client, served);
  if (warmups_ > 0) {  // other prompts than those that count: nothing of them is cached
    ServeBench other = *this;
    other.seed_ ^= 0x5741524D;
    other.prompts_ = warmups_;
    other.turns_ = 1;
    other.system_ = 0;
    LoadOptions options = load;
    options.request_rate = 0;
    const LoadResult warm = RunLoad(other.MakeWorkload(&client, served), options);
    if (const LoadSample& first = warm.samples.at(0); !first.error.empty())
      throw Error(ExitCode::kNetwork, fmt::format("the first request failed: {}", first.error));
  }
  LoadResult result;
  {
    Progress progress("bench serve", workload.sessions * workload.turns, "requests");
    result = RunLoad(workload, load, [&](size_t done) { progress.Update(done); });
  }
  Json report = LoadToJson(result, goodput);
  report.Set("url", url_);
  report.Set("model_id", served.model);
  report.Set("dataset", dataset_);
  report.Set("num_prompts", static_cast<int64_t>(workload.sessions));
  report.Set("request_rate", rate_);
  report.Set("max_concurrency", concurrency_);
  if (output == "json")
    fmt::print("{}\n", DumpJson(report));
  else
    fmt::print("{} at {}, {}, {} at a time\n{}", served.model, url_, dataset_, concurrency_,
               LoadText(report));
  return report.Find("completed")->AsInt() > 0 ? ExitCode::kOk : ExitCode::kFailure;
}

}  // namespace planish
