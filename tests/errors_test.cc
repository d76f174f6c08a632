// SPDX-License-Identifier: Apache-2.0
// What the program does when something is wrong: the documented exit status, one line on stderr naming the thing, nothing
// half-written. Exit statuses: 1 failure, 2 usage, 3 bad input file, 4 does not fit in memory.
#include <filesystem>

#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

// One line "planish VERB: error: ..." that holds every word; nothing on stdout.
void ExpectError(const Outcome& outcome, int status, const std::string& verb,
                 const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.status, status) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::string prefix = verb.empty() ? "planish: error: " : "planish " + verb + ": error: ";
  EXPECT_TRUE(outcome.err.starts_with(prefix)) << outcome.err;
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1)
      << "expected one line, found " << outcome.err;
  EXPECT_LT(outcome.err.size(), 64u << 10) << outcome.err;
  for (const std::string& word : words)
    EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in: " << outcome.err;
}

TEST(Usage, WithoutAVerbTheHelpGoesToStderr) {
  const Outcome none = RunProgram({});
  EXPECT_EQ(none.status, 2);
  EXPECT_EQ(none.out, "");
  const Outcome asked = RunProgram({"--help"});
  EXPECT_EQ(asked.status, 0);
  EXPECT_EQ(asked.err, "");
  EXPECT_EQ(asked.out, none.err);
  EXPECT_LE(Lines(asked.out).size(), 40u) << "one screen";
  for (const char* verb : {"init", "chat", "generate", "convert", "tokenize", "template", "info",
                           "plan", "logits", "compare", "demo", "bench", "pretrain", "sft",
                           "distill", "prune", "fuse", "search", "quantize"}) {
    EXPECT_NE(asked.out.find(std::string("\n  ") + verb + " "), std::string::npos) << verb;
    const std::string help = OutputOf({verb, "--help"});
    EXPECT_NE(help.find("planish " + std::string(verb), help.find("\nExamples:\n")),
              std::string::npos)
        << help;
  }
}

TEST(Usage, UnknownVerbsAndOptionsNameTheNearest) {
  ExpectError(RunProgram({"genrate"}), 2, "", {"'genrate'", "Try: planish generate"});
  ExpectError(RunProgram({"quux-frobnicate"}), 2, "", {"Try: planish --help"});
  ExpectError(RunProgram({"generate", "-m", "x", "--gredy"}), 2, "generate",
              {"'--gredy'", "Try: --greedy"});
  ExpectError(RunProgram({"plan", "qwen3-8b", "--contxt", "5"}), 2, "plan",
              {"'--contxt'", "--context"});
}

TEST(Usage, WrongValuesAreRefusedWithTheOptionsName) {
  ExpectError(RunProgram({"generate"}), 2, "generate", {"--model"});
  ExpectError(RunProgram({"generate", "-m", "x", "-n", "many"}), 2, "generate", {"-n", "many"});
  ExpectError(RunProgram({"generate", "-m", "x", "-n", "-5"}), 2, "generate", {"-n"});
  ExpectError(RunProgram({"generate", "-m", "x", "--temperature", "nan"}), 2, "generate",
              {"--temperature"});
  ExpectError(RunProgram({"generate", "-m", "x", "--act", "int3"}), 2, "generate",
              {"--act", "int3"});
  ExpectError(RunProgram({"info", "-m", "x", "--memory", "lots"}), 2, "info", {"'lots'", "22GiB"});
  ExpectError(RunProgram({"info"}), 2, "info", {"MODEL"});
  ExpectError(RunProgram({"logits", "-m", "x", "--ids", "a", "--text", "b", "-o", "c"}), 2,
              "logits", {"--ids", "--text"});
  ExpectError(RunProgram({"tokenize"}), 2, "tokenize", {"--tokenizer"});
  ExpectError(RunProgram({"plan", "no-such-model"}), 2, "plan", {"'no-such-model'", "nano-9b-v2"});
}

TEST(Usage, EnvironmentSetsOptionsAndTheCommandLineWins) {
  const RunOptions context{.environment = {{"PLANISH_CONTEXT", "100"}}};
  const auto total = [](const std::vector<std::string>& arguments, const RunOptions& options) {
    return Member(JsonOf(arguments, options), "cache_bytes").AsInt();
  };
  const std::vector<std::string> plain{"plan", "qwen3-8b", "--json"},
      flag{"plan", "qwen3-8b", "--json", "--context", "7"};
  EXPECT_EQ(total(plain, {}), 0);
  EXPECT_EQ(total(plain, context), 100 * 147'456);
  EXPECT_EQ(total(flag, context), 7 * 147'456);
  ExpectError(RunProgram(plain, {.environment = {{"PLANISH_CONTEXT", "far"}}}), 2, "plan", {"far"});
  ExpectError(RunProgram(plain, {.environment = {{"PLANISH_ISA", "nonsense"}}}), 2, "",
              {"PLANISH_ISA", "'nonsense'", "avx2"});
  EXPECT_NE(
      OutputOf({"--version"}, {.environment = {{"PLANISH_ISA", "scalar"}}}).find("ISA scalar"),
      std::string::npos);
}

TEST(BadFiles, MissingAndForeignFilesAreNamed) {
  const TemporaryDir work;
  ExpectError(RunProgram({"info", "-m", work / "nothing"}), 3, "info",
              {"nothing", "no such model"});
  WriteFile(work / "notes.txt", "hello");
  ExpectError(RunProgram({"info", "-m", work / "notes.txt"}), 3, "info", {"notes.txt", "neither"});
  ExpectError(RunProgram({"info", "-m", work.path()}), 3, "info", {"config.json"});
  ExpectError(RunProgram({"tokenize", "--tokenizer", work / "notes.txt", "x"}), 3, "tokenize",
              {"notes.txt", "not valid JSON"});
  ExpectError(RunProgram({"template", "--template", work / "nothing", "--jsonl"}), 3, "template",
              {"nothing"});
  WriteFile(work / "config.json", "{\"model_type\": \"llama\",");
  ExpectError(RunProgram({"plan", work / "config.json"}), 3, "plan",
              {"config.json", "not valid JSON"});
  WriteFile(work / "config.json", "{\"model_type\": \"gpt-neox\", \"hidden_size\": 64}");
  ExpectError(RunProgram({"plan", work / "config.json"}), 3, "plan", {"config.json", "gpt-neox"});
  WriteFile(work / "bad\nname\033[31m.gguf",
            "GGUF");  // what a name holds cannot break the line or colour the terminal
  ExpectError(RunProgram({"info", "-m", work / "bad\nname\033[31m.gguf"}), 3, "info",
              {"bad\\nname\\x1b[31m.gguf"});
}

// A model of the golden folder; hybrid if there is one.
std::string AnyModel() {
  std::string chosen;
  for (const std::string& name : GoldenModels()) {
    const bool has_tokenizer = FileExists(GoldenDir() + "/models/" + name + "/tokenizer.json");
    if (chosen.empty() || (has_tokenizer && name.starts_with("nemotron_h"))) chosen = name;
  }
  return chosen;
}

void CopyFolder(const std::string& from, const std::string& to) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

TEST(BadFilesGolden, TruncatedWeightsAreNamed) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  for (const std::string& file : Listing(GoldenDir() + "/gguf", ".gguf")) {
    const std::string whole = ReadFile(GoldenDir() + "/gguf/" + file, limits::kTokenizerBytes);
    for (const size_t size :
         {size_t{0}, size_t{3}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
      WriteFile(work / file, whole.substr(0, size));
      ExpectError(RunProgram({"info", "-m", work / file}), 3, "info", {file});
    }
  }
  for (const std::string& name : GoldenModels()) {
    const std::string folder = work / name;
    CopyFolder(GoldenDir() + "/models/" + name, folder);
    const std::string weights = Listing(folder, ".safetensors").back();
    std::filesystem::resize_file(folder + "/" + weights,
                                 std::filesystem::file_size(folder + "/" + weights) / 2);
    ExpectError(RunProgram({"generate", "-m", folder, "hello"}), 3, "generate", {});
    ExpectError(RunProgram({"info", "-m", folder}), 3, "info", {weights});
    ExpectError(RunProgram({"info", "-m", folder, "--no-mmap"}), 3, "info", {weights});
  }
}

TEST(BadFilesGolden, WrongJsonInAModelFolderIsNamed) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  const std::string folder = work / "model";
  CopyFolder(GoldenDir() + "/models/" + AnyModel(), folder);
  for (const char* file :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"}) {
    if (!FileExists(folder + "/" + file)) continue;
    const std::string before = ReadFile(folder + "/" + file, limits::kTokenizerBytes);
    for (const std::string& wrong :
         {std::string(), std::string("[1, 2]"), before.substr(0, before.size() / 2), before + "}",
          std::string("\xff\xfe")}) {
      WriteFile(folder + "/" + file, wrong);
      ExpectError(RunProgram({"generate", "-m", folder, "-n", "1", "x"}), 3, "generate", {file});
    }
    WriteFile(folder + "/" + file, before);
  }
  Json config = ReadJson(folder + "/config.json");
  config.Set("hidden_size", 65);
  WriteFile(folder + "/config.json", DumpJson(config));
  ExpectError(RunProgram({"info", "-m", folder}), 3, "info", {"65"});
}

TEST(BadFilesGolden, IdsThatAreNoIdsAreNamed) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  const std::string model = GoldenDir() + "/models/" + AnyModel(), ids = work / "ids.json",
                    out = work / "out.safetensors";
  const std::pair<const char*, const char*> cases[] = {{"[]", "empty"},
                                                       {"[1, -1]", "entry 1"},
                                                       {"[1, 2.5]", "entry 1"},
                                                       {"[\"a\"]", "entry 0"},
                                                       {"{\"ids\": [1]}", "list"},
                                                       {"[99999999]", "entry 0"},
                                                       {"[1, 2", "not valid JSON"}};
  for (const auto& [text, word] : cases) {
    WriteFile(ids, text);
    ExpectError(RunProgram({"logits", "-m", model, "--ids", ids, "-o", out}), 3, "logits",
                {"ids.json", word});
    ExpectError(RunProgram({"generate", "-m", model, "--ids", ids, "--json"}), 3, "generate",
                {"ids.json", word});
  }
  EXPECT_FALSE(FileExists(out));
}

TEST(BadInputGolden, JsonlLinesThatAreWrongAreCounted) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const std::string model = GoldenDir() + "/models/" + AnyModel();
  if (!FileExists(model + "/tokenizer.json")) GTEST_SKIP() << "no golden model has a tokenizer";
  const std::vector<std::string> tokenize{"tokenize", "-m", model, "--jsonl"};
  const std::string good = "{\"text\": \"fine\"}\n";
  for (const std::string& wrong :
       {std::string("{\"text\": \"a\xff\"}"), std::string("{\"text\": \"a\0\"}", 13),
        std::string("{\"text\": "), std::string("\"text\""), std::string("{}"),
        std::string("{\"text\": 5}"), std::string("\0\0\0", 3)}) {
    const Outcome outcome = RunProgram(tokenize, {.input = good + wrong + "\n" + good});
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    EXPECT_EQ(Lines(outcome.err).size(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find("stdin: line 2"), std::string::npos) << outcome.err;
  }
  // The last line may lack its newline; CRLF is white space to JSON.
  EXPECT_EQ(
      Lines(OutputOf(tokenize, {.input = good + "{\"text\": \"fine\"}\r\n{\"text\": \"fine\"}"}))
          .size(),
      3u);
  EXPECT_EQ(OutputOf(tokenize, {}), "");
}

TEST(BadInputGolden, AnEndlessLineIsRefusedInBoundedMemory) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const std::string model = GoldenDir() + "/models/" + AnyModel();
  if (!FileExists(model + "/tokenizer.json")) GTEST_SKIP() << "no golden model has a tokenizer";
  const std::string line(limits::kJsonlLineBytes + (1u << 20), 'a');
  ExpectError(RunProgram({"tokenize", "-m", model, "--jsonl"}, {.input = line}), 3, "tokenize",
              {"stdin: line 1", std::to_string(limits::kJsonlLineBytes)});
}

TEST(MemoryGolden, AModelThatDoesNotFitSaysWhatWould) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  WriteIds(work / "ids.json", {1, 2, 3});
  const auto run = [&](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"logits",          "-m",        model, "--ids",
                                          work / "ids.json", "--logprobs"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  for (const std::string& name : GoldenModels()) {
    const std::string model = GoldenDir() + "/models/" + name;
    ExpectError(RunProgram(run(model, {"--memory", "10KiB"})), 4, "logits",
                {name, "needs", "available", "Try: "});
    // A description needs no memory for the weights; it says what would not fit.
    const std::string text = OutputOf({"info", "-m", model, "--memory", "10KiB"});
    EXPECT_NE(text.find("does not fit"), std::string::npos) << text;
  }
  // With room for the weights alone the hint is a context, and that context is accepted.
  const std::string model = GoldenDir() + "/models/" + AnyModel();
  const Json info = JsonOf({"info", "-m", model, "--json"});
  const std::string memory =
      std::to_string(Member(info, "file_bytes").AsInt() + Member(info, "state_bytes").AsInt() +
                     40 * Member(info, "kv_bytes_per_token").AsInt());
  ExpectError(RunProgram(run(model, {"--memory", memory, "--ctx", "60"})), 4, "logits",
              {"Try: --ctx 40"});
  OutputOf(run(model, {"--memory", memory, "--ctx", "40"}));
}

class OutputGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
    model_ = GoldenDir() + "/models/" + AnyModel();
    WriteIds(work_ / "ids.json", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
    logits_ = {"logits", "-m", model_, "--ids", work_ / "ids.json", "-o"};
  }
  Outcome Logits(const std::string& output, const RunOptions& options = {},
                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = logits_;
    arguments.push_back(output);
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunProgram(arguments, options);
  }
  TemporaryDir work_;
  std::string model_;
  std::vector<std::string> logits_;
};

TEST_F(OutputGolden, AnOutputThatCannotBeMadeFailsAndLeavesNothing) {
  ExpectError(Logits(work_ / "no/such/folder/out.safetensors"), 1, "logits", {"no/such/folder"});
  std::filesystem::create_directory(work_ / "taken");
  ExpectError(Logits(work_ / "taken"), 1, "logits", {"taken"});
  WriteFile(work_ / "file", "x");
  ExpectError(RunProgram({"convert", "-m", model_, "-o", work_ / "file/model"}), 1, "convert",
              {"file"});
  EXPECT_EQ(Listing(work_.path()), (std::vector<std::string>{"file", "ids.json", "taken"}));
}

TEST_F(OutputGolden, AFullDiskLeavesTheOldOutputAndNoTemporaryFile) {
  const std::string output = work_ / "out.safetensors";
  WriteFile(output, "what was there before");
  const RunOptions full_disk{.file_bytes = 4096};
  ExpectError(Logits(output, full_disk), 1, "logits", {"out.safetensors"});
  ExpectError(RunProgram({"convert", "-m", model_, "-o", work_ / "model.gguf"}, full_disk), 1,
              "convert", {"model.gguf"});
  EXPECT_EQ(ReadFile(output, 1000), "what was there before");
  EXPECT_EQ(Listing(work_.path()), (std::vector<std::string>{"ids.json", "out.safetensors"}));
  EXPECT_EQ(RunProgram({"convert", "-m", model_, "-o", work_ / "folder"}, full_disk).status, 1);
  for (const std::string& file : Listing(work_ / "folder"))
    EXPECT_FALSE(file.ends_with(".tmp")) << file;
  EXPECT_TRUE(Listing(work_ / "folder", ".safetensors").empty());
}

TEST_F(OutputGolden, AClosedOrFullStandardOutputIsAnErrorNotACrash) {
  for (const auto where : {RunOptions::Stdout::kClosedPipe, RunOptions::Stdout::kFull}) {
    for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
             {"info", "-m", model_},
             {"info", "--limits"},
             {"plan", "qwen3-8b", "--json"},
             {"--help"},
             {"--version"},
             {"info", "--help"},
             {"generate", "-m", model_, "--ids", work_ / "ids.json", "-n", "20", "--json"}}) {
      const Outcome outcome = RunProgram(arguments, {.standard_output = where});
      EXPECT_EQ(outcome.status, 1) << ::testing::PrintToString(arguments) << outcome.err;
      EXPECT_EQ(Lines(outcome.err).size(), 1u)
          << ::testing::PrintToString(arguments) << outcome.err;
    }
  }
}

TEST_F(OutputGolden, LogitsHaveTheSameBytesForAnyNumberOfThreads) {
  std::vector<std::string> bytes;
  for (const char* threads : {"1", "2", "3"}) {
    EXPECT_EQ(Logits(work_ / threads, {}, {"-t", threads}).status, 0);
    bytes.push_back(ReadFile(work_ / threads, 1 << 24));
  }
  EXPECT_EQ(bytes[1], bytes[0]);
  EXPECT_EQ(bytes[2], bytes[0]);
}

TEST(IsaGolden, EverySimdLevelGivesTheGreedyIds) {
  PLANISH_NEEDS_GOLDEN(GoldenDir() + "/models");
  const TemporaryDir work;
  for (const std::string& name : GoldenModels()) {
    const GoldenTensors golden = ReadTensors(GoldenDir() + "/cases/" + name + ".safetensors");
    const std::string ids = WriteIds(work / "ids.json", golden.ids.at("greedy_prompt"));
    for (const char* isa : {"scalar", "avx2", "neon"}) {
      const RunOptions options{.environment = {{"PLANISH_ISA", isa}}};
      if (RunProgram({"--version"}, options).status != 0) continue;  // not on this CPU
      const Json json = JsonOf({"generate", "-m", GoldenDir() + "/models/" + name, "--ids", ids,
                                "-n", std::to_string(golden.ids.at("greedy_ids").size()),
                                "--greedy", "--json", "--ignore-eos"},
                               options);
      EXPECT_EQ(IdsOf(Member(json, "ids")), golden.ids.at("greedy_ids")) << name << " " << isa;
    }
  }
}

}  // namespace
}  // namespace planish::testing
