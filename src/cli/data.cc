// SPDX-License-Identifier: Apache-2.0
// `planish data sft tokenize|pairs|truncate-think`: chat data for supervised fine-tuning. `planish data problems`: made-up
// tasks with worked solutions.
#include <filesystem>
#include <map>

#include "base/file.h"
#include "cli/data_problems.h"
#include "cli/verbs.h"
#include "data/sft_tokens.h"
#include "data/thinking_data.h"
#include "model/pretrained.h"

namespace planish {
namespace {

class DataVerb : public Verb {
 public:
  const char* name() const override { return "data"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "training data: data sft tokenize | pairs | truncate-think, data problems";
  }
  const char* examples() const override {
    return "  planish data sft tokenize chats.jsonl -o chats.tokens -m MODEL\n  planish data sft "
           "truncate-think chats.jsonl -o cut.jsonl -m MODEL --min 1000 --max 2000\n  planish data "
           "problems -o "
           "train.jsonl --seed 7 --count 100000 --form chat";
  }
  void Declare(OptionSet* options) override {
    options->Positional(
        "what", &words_,
        "sft, the step, and the JSONL file, plain or zstd (- for stdin); or problems");
    options->Text("-o,--output", &output_, "file to write");
    options->Text("-m,--model", &model_,
                  "Hugging Face folder or GGUF file, or a tokenizer.json with --template");
    options->Text("--template", &template_, "a .jinja file instead of the model's");
    options->Flag("--json", &json_, "counts as one JSON object on stdout");
    options->Group("tokenize");
    options->Choice("--turns", &turns_, {"all", "last"}, "assistant messages to train on");
    options->Int("--max-tokens", &max_tokens_, 0, int64_t{1} << 30,
                 "longest sample; 0: no limit, the trainer's seq_len decides");
    options->Choice("--long", &long_, {"truncate", "drop", "split"}, "samples longer than that");
    options->Flag("--skip-bad", &skip_bad_, "count bad lines instead of stopping at the first");
    options->Group("pairs");
    options->Text("--off", &off_,
                  "JSONL with answers for thinking off, matched by prompt; else the same answer");
    options->Group("truncate-think");
    options->Int("--min", &min_, 0, int64_t{1} << 30, "fewest tokens of reasoning that remain");
    options->Int("--max", &max_, 0, int64_t{1} << 30, "most tokens of reasoning that remain");
    options->Choice("--at", &at_, {"newline", "token"}, "where a trace may be cut");
    options->Real("--fraction", &fraction_, 0, 1, "share of the lines that are cut");
    options->Int("--seed", &seed_, 0, INT64_MAX, "seed of the choice, or of the problems");
    options->Group("problems");
    options->Choice(
        "--kind", &job_.kind, {"problems", "tools", "talk", "drills"},
        "what is made: problems, dialogues with the demo tools, small talk, or documents "
        "of pure practice");
    options->Int("--count", &count_, 0, int64_t{1} << 40, "how many");
    options->Int("--first", &first_, 0, int64_t{1} << 40, "number of the first one");
    options->Choice("--split", &job_.split, {"train", "test"},
                    "test: other sentences and other numbers than training has");
    options->Choice(
        "--form", &job_.form, {"chat", "text", "test"},
        "conversations for sft, documents for pretrain, questions with answers for eval");
    options->Choice("--mix", &job_.mix, {"full", "easy", "test"}, "skills, steps and digits");
    options->Choice("--thinking", &job_.thinking, {"both", "on", "off"},
                    "of chat rows; both: two rows a problem");
  }

  ExitCode Run(const OptionSet& options) override {
    const bool is_problems = words_.size() == 1 && words_[0] == "problems";
    if (!is_problems && (words_.size() != 3 || words_[0] != "sft")) {
      throw UsageError(
          "expected `data sft tokenize|pairs|truncate-think FILE.jsonl` or `data problems`");
    }
    if (output_.empty()) throw UsageError("expected -o FILE");
    if (is_problems) {
      Problems(options);
      return ExitCode::kOk;
    }
    if (words_[1] == "tokenize") {
      Tokenize(words_[2]);
    } else if (words_[1] == "pairs") {
      Pairs(words_[2]);
    } else if (words_[1] == "truncate-think") {
      Truncate(words_[2]);
    } else {
      throw UsageError("{} is no step of `data sft`, expected tokenize, pairs or truncate-think",
                       Quoted(words_[1]));
    }
    return ExitCode::kOk;
  }

 private:
  void Report(const std::vector<std::pair<const char*, uint64_t>>& counts) const {
    Json json = Json::MakeObject();
    std::string text;
    for (const auto& [key, value] : counts) {
      json.Set(key, value);
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", value, key);
    }
    if (json_) {
      fmt::print("{}\n", DumpJson(json));
    } else {
      fmt::print(stderr, "{}: {}\n", output_, text);
    }
  }

  ChatFormat Format(std::string* name) const {
    if (model_.empty()) throw UsageError("expected -m MODEL");
    ChatFormat format;
    *name = std::filesystem::path(model_).filename().string();
    if (IsDirectory(model_) || !model_.ends_with(".json")) {
      Pretrained opened = OpenPretrained(model_, {.needs_weights = false});
      *name = opened.name;
      format = {opened.tokenizer, opened.chat_template, opened.thinking,
                opened.bos_token, opened.eos_token,     opened.eos_ids};
    } else {
      format.tokenizer = OpenTokenizer(model_);
    }
    if (!template_.empty()) {
      format.chat_template = OpenTemplate(template_);
      format.thinking = format.chat_template->DetectThinking();
    }
    if (format.chat_template == nullptr) {
      throw Error(ExitCode::kUsage, fmt::format("{} has no chat template", Quoted(model_, 300)),
                  "--template FILE.jinja");
    }
    return format;
  }

  void Tokenize(const std::string& path) {
    std::string name;
    const ChatEncoder encoder(Format(&name));
    const Tokenizer& tokenizer = encoder.tokenizer();
    SftOptions options;
    options.turns = turns_ == "all" ? TrainedTurns::kAll : TrainedTurns::kLast;
    options.max_tokens = static_cast<size_t>(max_tokens_);
    options.long_examples = long_ == "truncate" ? LongExample::kTruncate
                            : long_ == "drop"   ? LongExample::kDrop
                                                : LongExample::kSplit;
    options.skips_bad_lines = skip_bad_;
    DialogueLines lines(path);
    TokenFileWriter writer(output_, {tokenizer.vocab_size(), TokenizerHash(tokenizer), name,
                                     /*has_mask=*/true});
    const SftCounts counts = TokenizeDialogues(&lines, encoder, options, &writer);
    if (writer.document_count() == 0)
      throw BadFile("{}: no answer to train on in {} lines", Quoted(path, 300), counts.dialogues);
    writer.Commit();
    if (counts.bad_lines > 0) fmt::print(stderr, "first bad line: {}\n", counts.first_bad);
    Report({{"dialogues", counts.dialogues},
            {"samples", counts.samples},
            {"tokens", writer.token_count()},
            {"trained_tokens", writer.trained_tokens()},
            {"bad_lines", counts.bad_lines},
            {"dialogues_without_answer", counts.without_answer},
            {"empty_turns", counts.empty_turns},
            {"turns_without_reasoning", counts.turns_without_reasoning},
            {"long_samples", counts.long_samples},
            {"lost_tokens", counts.lost_tokens}});
  }

  void Pairs(const std::string& path) {
    std::map<std::string, Json> answers;
    if (!off_.empty()) {
      DialogueLines lines(off_);
      while (const auto dialogue = lines.Next())
        answers.try_emplace(PromptKey(*dialogue), FinalAnswer(*dialogue));
    }
    DialogueLines lines(path);
    FileWriter out(output_);
    uint64_t read = 0, pairs = 0, unmatched = 0;
    while (const auto dialogue = lines.Next()) {
      ++read;
      const Json* answer = nullptr;
      if (!off_.empty()) {
        const auto found = answers.find(PromptKey(*dialogue));
        if (found == answers.end() || found->second.is_null()) {
          ++unmatched;
          continue;
        }
        answer = &found->second;
      }
      Json on, off;
      if (!MakeThinkingPair(*dialogue, answer, &on, &off)) continue;
      ++pairs;
      out.Write(DumpJson(on) + "\n" + DumpJson(off) + "\n");
    }
    out.Commit();
    Report({{"dialogues", read},
            {"pairs", pairs},
            {"without_off_answer", unmatched},
            {"without_reasoning", read - pairs - unmatched}});
  }

  void Truncate(const std::string& path) {
    if (model_.empty()) throw UsageError("expected -m MODEL or a tokenizer.json");
    if (min_ > max_) throw UsageError("--min {} is more than --max {}", min_, max_);
    const auto tokenizer = OpenTokenizer(model_);
    const TruncateThinking step{static_cast<uint64_t>(min_), static_cast<uint64_t>(max_),
                                at_ == "newline", fraction_, static_cast<uint64_t>(seed_)};
    DialogueLines lines(path);
    FileWriter out(output_);
    uint64_t read = 0, counts[4] = {};
    while (const auto dialogue = lines.Next()) {
      Json line;
      ++counts[static_cast<size_t>(step.Apply(*tokenizer, read++, *dialogue, &line))];
      out.Write(DumpJson(line) + "\n");
    }
    out.Commit();
    Report({{"dialogues", read},
            {"not_chosen", counts[0]},
            {"without_reasoning", counts[1]},
            {"too_short", counts[2]},
            {"truncated", counts[3]}});
  }

  void Problems(const OptionSet& options) {
    if (job_.kind == "tools" && options.WasGiven("--split"))
      throw UsageError("--split means nothing with --kind tools: --form test gives tests");
    if (job_.kind != "problems") {
      if (options.WasGiven("--mix"))
        throw UsageError("--mix means nothing with --kind {}", job_.kind);
      const bool has_form = job_.kind == "tools" ? job_.form != "text" : job_.form == "chat";
      if (options.WasGiven("--form") && !has_form)
        throw UsageError("--kind {} has no form {}", job_.kind, job_.form);
      if (options.WasGiven("--split") && job_.split == "test")
        throw UsageError("--kind {} has no test split", job_.kind);
    }
    job_.output = output_;
    job_.seed = static_cast<uint64_t>(seed_);
    job_.first = static_cast<uint64_t>(first_);
    job_.count = static_cast<uint64_t>(count_);
    if (job_.count == 0) throw UsageError("expected --count N");
    Report({{"rows", WriteProblemData(job_)}});
  }

  ProblemDataJob job_{
      .kind = "problems", .form = "chat", .mix = "full", .split = "train", .thinking = "both"};
  int64_t count_ = 0, first_ = 0;
  std::vector<std::string> words_;
  std::string output_, model_, template_, turns_ = "all", long_ = "truncate", off_, at_ = "newline";
  int64_t max_tokens_ = 0, min_ = 1000, max_ = 2000, seed_ = 1234;
  double fraction_ = 0.05;
  bool json_ = false, skip_bad_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeData() { return std::make_unique<DataVerb>(); }

}  // namespace planish
