// SPDX-License-Identifier: Apache-2.0
// Folders of strangers: spoiled config.json files, ids outside the vocabulary, tensors that are missing, extra, misshapen
// or of a wrong type. Each is refused by name or opens as a model that runs; none costs more than its own size.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/pretrained.h"
#include "tensor/safetensors.h"

namespace planish {
namespace {

using testing::GoldenDir;
using testing::Listing;
using testing::TemporaryDir;

constexpr size_t kMutations = 2000;
constexpr double kSecondsEach = 2.0;  // processor time; a sound tiny model opens in milliseconds
constexpr rlim_t kMemoryBytes = rlim_t{512} << 20;

// Caps what the process may map while tests run, so that a giant declared size cannot be allocated unnoticed, even
// untouched. Not under sanitizers, whose shadow memory is terabytes.
class MemoryCap {
 public:
  MemoryCap() {
#if !defined(__SANITIZE_ADDRESS__)
    getrlimit(RLIMIT_AS, &before_);
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit capped = before_;
    capped.rlim_cur = pages * 4096 + kMemoryBytes;
    setrlimit(RLIMIT_AS, &capped);
#endif
  }
  ~MemoryCap() {
#if !defined(__SANITIZE_ADDRESS__)
    setrlimit(RLIMIT_AS, &before_);
#endif
  }

 private:
  [[maybe_unused]] rlimit before_{};
};

double ProcessorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void Copy(const std::string& from, const std::string& to) {
  std::filesystem::create_directories(to);
  std::filesystem::copy(
      from, to,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
}
void Put(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

// What opens must also run.
void RunAFewTokens(const Pretrained& opened) {
  const Model& model = *opened.model;
  Workspace workspace;
  const std::vector<int32_t> ids = {0, static_cast<int32_t>(opened.config.vocab_size - 1), 0, 0};
  std::vector<float> hidden(ids.size() * opened.config.hidden_size),
      logits(opened.config.vocab_size);
  model.Forward(ids, SeqLayout(ids.size()), hidden.data(), &workspace);
  model.Head(hidden.data(), 1, logits.data());
  SequenceState sequence = model.NewSequence();
  const StepRun run{0, ids.size(), &sequence};
  model.Step(ids, {&run, 1}, hidden.data(), &workspace);
}

enum class Outcome { kOpened, kBadFile, kNoMemory };

// Anything but these three is a failure: another exit code, std::bad_alloc, an abort.
Outcome Try(const std::string& path, std::string* message = nullptr) {
  const double start = ProcessorSeconds();
  Outcome outcome = Outcome::kOpened;
  try {
    RunAFewTokens(OpenPretrained(path, {.needs_tokenizer = false}));
  } catch (const Error& error) {
    outcome = error.code() == ExitCode::kNoMemory ? Outcome::kNoMemory : Outcome::kBadFile;
    EXPECT_TRUE(error.code() == ExitCode::kBadFile || error.code() == ExitCode::kNoMemory)
        << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    if (message != nullptr) *message = error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw " << error.what();
  }
  EXPECT_LT(ProcessorSeconds() - start, kSecondsEach);
  return outcome;
}

void ExpectRefused(const std::string& path, const std::vector<std::string>& parts) {
  std::string message;
  EXPECT_EQ(Try(path, &message), Outcome::kBadFile);
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "no " << part << " in: " << message;
}

std::string RandomBytes(std::string text, Random* random) {
  const auto at = [&] { return static_cast<size_t>(random->Below(text.size())); };
  for (uint64_t edits = 1 + random->Below(3); edits > 0 && !text.empty(); --edits) {
    const size_t begin = at(), length = 1 + static_cast<size_t>(random->Below(20));
    switch (random->Below(6)) {
      case 0:
        text[begin] = static_cast<char>(random->Below(256));
        break;
      case 1:
        text[begin] = "0123456789-.eE[]{}\",:"[random->Below(21)];
        break;
      case 2:
        text.erase(begin, length);
        break;
      case 3:
        text.insert(at(), text.substr(begin, length));
        break;
      case 4:
        text.resize(begin);
        break;
      default:
        text.insert(begin, random->Below(2) == 0 ? "9" : "00");
        break;
    }
  }
  return text;
}

Json RandomValue(const Json& old, Random* random) {
  const double inf = std::numeric_limits<double>::infinity();
  const Json values[] = {Json(),
                         Json(true),
                         Json(0),
                         Json(1),
                         Json(-1),
                         Json(2),
                         Json(3),
                         Json(7),
                         Json(0.5),
                         Json(1e308),
                         Json(-0.0),
                         Json(inf),
                         Json(std::numeric_limits<double>::quiet_NaN()),
                         Json(int64_t{1} << 31),
                         Json(int64_t{1} << 53),
                         Json(~uint64_t{0}),
                         Json("NaN"),
                         Json(""),
                         Json(std::string(100'000, 'M')),
                         Json(Json::Array{}),
                         Json(Json::Object{}),
                         Json(Json::Array{old, old}),
                         Json(1024),
                         Json(65'536),
                         Json(1'000'000)};
  if (old.is_integer() && random->Below(2) == 0) {
    const int64_t v = old.AsInt();
    const int64_t near[] = {v + 1, v - 1, v * 2, v / 2, -v, v * 1'000'000, v + 64};
    return Json(near[random->Below(std::size(near))]);
  }
  if (old.is_string() && random->Below(2) == 0) {
    const std::string& text = old.AsString();
    return Json(text.empty() ? "x" : random->Below(2) == 0 ? text.substr(1) : text + text);
  }
  return values[random->Below(std::size(values))];
}

// Replaces or removes one value somewhere in the tree.
void MutateTree(Json* json, Random* random) {
  if (json->is_object() && !json->AsObject().empty()) {
    Json::Object& members = json->AsObject();
    const size_t i = static_cast<size_t>(random->Below(members.size()));
    Json& value = members[i].second;
    const bool descend = (value.is_object() || value.is_array()) && random->Below(3) != 0;
    if (descend) return MutateTree(&value, random);
    if (random->Below(6) == 0)
      members.erase(members.begin() + static_cast<ptrdiff_t>(i));
    else
      value = RandomValue(value, random);
  } else if (json->is_array() && !json->AsArray().empty()) {
    Json::Array& items = json->AsArray();
    const size_t i = static_cast<size_t>(random->Below(items.size()));
    if (items[i].is_object() && random->Below(3) != 0) return MutateTree(&items[i], random);
    if (random->Below(3) == 0)
      items.erase(items.begin() + static_cast<ptrdiff_t>(i));
    else
      items[i] = RandomValue(items[i], random);
  } else {
    *json = RandomValue(*json, random);
  }
}

TEST(HostileConfig, GoldenConfigsWithRandomDamageAreRefusedOrOpen) {
  const std::vector<std::string> models = Listing(GoldenDir() + "/models");
  if (models.empty())
    GTEST_SKIP() << "no models under " << GoldenDir() << "/models: set PLANISH_GOLDEN";
  const LogLevel level = GetLogLevel();
  SetLogLevel(LogLevel::kQuiet);
  const MemoryCap cap;
  Random random(20251122);
  size_t count[3] = {0, 0, 0};
  for (size_t m = 0; m < models.size(); ++m) {
    const std::string source = GoldenDir() + "/models/" + models[m];
    const TemporaryDir temporary;
    Copy(source, temporary.path());
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
      std::filesystem::remove(temporary / name);
    std::vector<std::string> texts;
    for (const char* name : {"/config.json", "/config.published.json"}) {
      if (FileExists(source + name)) texts.push_back(ReadFile(source + name, limits::kConfigBytes));
    }
    for (size_t n = m; n < kMutations && !::testing::Test::HasFailure(); n += models.size()) {
      const std::string& text = texts[static_cast<size_t>(random.Below(texts.size()))];
      std::string spoiled;
      if (random.Below(2) == 0) {
        spoiled = RandomBytes(text, &random);
      } else {
        Json json = ParseJson(text, "config.json", {.allow_non_finite = true});
        for (uint64_t edits = 1 + random.Below(2); edits > 0; --edits) MutateTree(&json, &random);
        spoiled = DumpJson(json);
      }
      Put(temporary / "config.json", spoiled);
      SCOPED_TRACE(fmt::format("{}, mutation {}: {}", models[m], n, Quoted(spoiled, 3000)));
      ++count[static_cast<size_t>(Try(temporary.path()))];
    }
  }
  SetLogLevel(level);
  // Both answers must occur, or the test looks at nothing.
  EXPECT_GT(count[0], kMutations / 20) << "opened";
  EXPECT_GT(count[1], kMutations / 4) << "refused";
  RecordProperty("opened", static_cast<int>(count[0]));
  RecordProperty("refused", static_cast<int>(count[1]));
  RecordProperty("too_large", static_cast<int>(count[2]));
}

// A copy of a golden folder that a test spoils.
class HostileFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string source = GoldenDir() + "/models/llama_a";
    if (!FileExists(source + "/config.json"))
      GTEST_SKIP() << "no " << source << ": set PLANISH_GOLDEN";
    Copy(source, path());
    config_ = ParseJson(ReadFile(path() + "/config.json", limits::kConfigBytes), "config.json");
  }
  const std::string& path() const { return temporary_.path(); }
  void SetConfig(const std::string& key, Json value) {
    Json json = config_;
    json.Set(key, std::move(value));
    Put(path() + "/config.json", DumpJson(json));
  }

  // Writes the model's tensors anew after `spoil` changed the list.
  void Rewrite(const std::function<void(std::vector<TensorToWrite>*)>& spoil) {
    stored_ = ReadSafetensorsFolder(GoldenDir() + "/models/llama_a", FileBytes::Access::kRead);
    std::vector<TensorToWrite> tensors;
    for (const StoredTensor& tensor : stored_) {
      tensors.push_back(ToWrite(tensor.name, tensor.view));
    }
    spoil(&tensors);
    WriteSafetensorsFolder(path(), tensors);
  }
  static TensorToWrite Zeros(const std::string& name, DType dtype, const Shape& shape) {
    return {name, dtype, shape, [dtype, shape](size_t begin, size_t end, std::byte* out) {
              std::memset(out, 0, BytesOf(dtype, (end - begin) * shape.last()));
            }};
  }

  TemporaryDir temporary_;
  Json config_;
  std::vector<StoredTensor> stored_;
};

TEST_F(HostileFolder, GoldenTokenIdsOutsideTheVocabularyAreRefused) {
  const int64_t V = config_.Find("vocab_size")->AsInt();
  for (const Json& bad : {Json(V), Json(int64_t{-1}), Json(int64_t{1} << 40),
                          Json(Json::Array{Json(1), Json(V)}), Json("2"), Json(1.5)}) {
    SCOPED_TRACE(DumpJson(bad));
    SetConfig("eos_token_id", bad);
    ExpectRefused(path(), {"config.json", "eos_token_id"});
    if (bad.is_array() || bad == Json(int64_t{-1}))
      continue;  // -1 is a way to say that there is none
    SetConfig("bos_token_id", bad);
    ExpectRefused(path(), {"config.json", "bos_token_id"});
  }
  Put(path() + "/config.json", DumpJson(config_));
  ASSERT_EQ(Try(path()), Outcome::kOpened);
  for (const Json& bad :
       {Json(V), Json(int64_t{-1}), Json(Json::Array{Json(0), Json(V)}), Json("2")}) {
    SCOPED_TRACE(DumpJson(bad));
    Json json = Json::MakeObject();
    json.Set("eos_token_id", bad);
    Put(path() + "/generation_config.json", DumpJson(json));
    ExpectRefused(path(), {"generation_config.json", "eos_token_id"});
  }
}

TEST_F(HostileFolder, GoldenTokenizerLargerThanTheVocabularyIsRefused) {
  const std::string larger = GoldenDir() + "/tokenizer/bpe_llama3_style/tokenizer.json";
  if (!FileExists(larger)) GTEST_SKIP() << "no " << larger << ": set PLANISH_GOLDEN";
  std::filesystem::copy_file(larger, path() + "/tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  ExpectRefused(path(), {"tokenizer", "tokens", "vocab_size"});
}

TEST_F(HostileFolder, GoldenMissingExtraAndMisshapenTensorsAreAllListed) {
  Rewrite([](std::vector<TensorToWrite>* tensors) {
    std::vector<TensorToWrite> kept;
    for (TensorToWrite& tensor : *tensors) {
      if (tensor.name == "model.norm.weight" || tensor.name.ends_with("0.mlp.up_proj.weight"))
        continue;
      if (tensor.name.ends_with("1.self_attn.q_proj.weight"))
        kept.push_back(Zeros(tensor.name, DType::kF32, {64, 63}));
      else if (tensor.name.ends_with("2.input_layernorm.weight"))
        kept.push_back(Zeros(tensor.name, DType::kF32, {64, 1}));
      else
        kept.push_back(std::move(tensor));
    }
    kept.push_back(Zeros("model.layers.0.mlp.upp_proj.weight", DType::kF32, {4, 4}));
    kept.push_back(Zeros("model.layers.99.input_layernorm.weight", DType::kF32, {64}));
    *tensors = std::move(kept);
  });
  ExpectRefused(path(),
                {"model.norm.weight is missing", "model.layers.0.mlp.up_proj.weight is missing",
                 "model.layers.1.self_attn.q_proj.weight is [64, 63], expected [64, 64]",
                 "model.layers.2.input_layernorm.weight is [64, 1], expected [64]",
                 "model.layers.0.mlp.upp_proj.weight", "model.layers.99.input_layernorm.weight"});
}

TEST_F(HostileFolder, GoldenTensorsOfATypeThatIsNoNumberAreRefused) {
  const std::string matrix = "model.layers.1.mlp.up_proj.weight",
                    vector = "model.layers.1.input_layernorm.weight";
  for (const auto& [name, dtype] : {std::pair(matrix, DType::kI32),
                                    {matrix, DType::kBool},
                                    {matrix, DType::kI8},
                                    {vector, DType::kI64},
                                    {vector, DType::kF8E4M3}}) {
    SCOPED_TRACE(fmt::format("{} {}", name, Name(dtype)));
    Rewrite([&name = name, dtype = dtype](std::vector<TensorToWrite>* tensors) {
      for (TensorToWrite& tensor : *tensors) {
        if (tensor.name == name) tensor = Zeros(name, dtype, tensor.shape);
      }
    });
    ExpectRefused(path(), {name, std::string(Name(dtype))});
  }
}

TEST_F(HostileFolder, GoldenWeightsThatAreNotNumbersOpenWithAWarning) {
  Rewrite([](std::vector<TensorToWrite>* tensors) {
    for (TensorToWrite& tensor : *tensors) {
      if (tensor.name != "model.layers.1.input_layernorm.weight" &&
          tensor.name != "model.layers.0.mlp.up_proj.weight")
        continue;
      tensor.data = nullptr;
      tensor.fill = [columns = tensor.shape.last()](size_t begin, size_t end, std::byte* out) {
        const float nan = std::numeric_limits<float>::quiet_NaN();
        for (size_t i = 0; i < (end - begin) * columns; ++i) std::memcpy(out + 4 * i, &nan, 4);
      };
    }
  });
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(Try(path()), Outcome::kOpened);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("model.layers.1.input_layernorm.weight"),
            std::string::npos);
}

TEST_F(HostileFolder, GoldenCustomCodeIsIgnoredWithAWarning) {
  Json map = Json::MakeObject();
  map.Set("AutoModelForCausalLM", "modeling_evil.EvilForCausalLM");
  SetConfig("auto_map", std::move(map));
  Put(path() + "/modeling_evil.py", "raise SystemExit(1)\n");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(Try(path()), Outcome::kOpened);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("auto_map"), std::string::npos);
}

TEST_F(HostileFolder, GoldenGiantSizesAreRefusedWithoutAllocatingThem) {
  const MemoryCap cap;
  const std::pair<const char*, int64_t> giants[] = {
      {"hidden_size", 1 << 20},    {"intermediate_size", 16 << 20}, {"vocab_size", 4 << 20},
      {"num_hidden_layers", 1024}, {"num_attention_heads", 1024},   {"head_dim", 4096}};
  for (const auto& [key, value] : giants) {
    SCOPED_TRACE(key);
    SetConfig(key, value);
    EXPECT_NE(Try(path()), Outcome::kOpened);
  }
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "intermediate_size", "max_position_embeddings"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 31, int64_t{1} << 62}) {
      SCOPED_TRACE(fmt::format("{} {}", key, value));
      SetConfig(key, value);
      ExpectRefused(path(), {"config.json", key});
    }
  }
}

}  // namespace
}  // namespace planish
