// SPDX-License-Identifier: Apache-2.0
#include "net/hub.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "net/fake_hub.h"

namespace planish {
namespace {

using testing::FakeHub;
using testing::TemporaryDir;

// Every byte tells its place.
std::string Content(size_t size) {
  std::string text;
  while (text.size() < size) text += fmt::format("{:08d}\n", text.size());
  text.resize(size);
  return text;
}

HubOptions Quick(const FakeHub& hub) { return {.endpoint = hub.url(), .retry_wait_s = 0.01}; }

const HubFile& FileOf(const HubModel& model, const std::string& path) {
  for (const HubFile& file : model.files) {
    if (file.path == path) return file;
  }
  throw RuntimeError("no {}", path);
}

struct Fetched {
  std::string content;
  size_t ranges = 0;  // requests that went on from a byte
};

Fetched FetchLarge(FakeHub* hub, const std::string& to, const HubOptions& options) {
  const Hub client(options);
  const HubModel model = client.Find("owner/name", "main");
  uint64_t last = 0;
  client.Fetch(model, FileOf(model, "model.safetensors"), to, [&](uint64_t done) { last = done; });
  Fetched fetched{ReadFile(to, 1 << 24)};
  EXPECT_EQ(last, fetched.content.size());
  for (const HttpRequest& request : hub->store().requests())
    fetched.ranges += !request.Header("range").empty();
  EXPECT_FALSE(FileExists(to + ".part"));
  return fetched;
}

TEST(Hub, BringsSmallAndLargeFilesAndLeavesRightOnesAlone) {
  FakeHub hub({{"config.json", "{}"}, {"empty.json", ""}, {"model.safetensors", Content(300'000)}});
  TemporaryDir work;
  const Hub client(Quick(hub));
  const HubModel model = client.Find("owner/name", "main");
  EXPECT_EQ(model.commit, FakeHub::kCommit);
  ASSERT_EQ(model.files.size(), 3u);
  for (int round = 0; round < 2; ++round) {
    for (const HubFile& file : model.files)
      client.Fetch(model, file, work / file.path, [](uint64_t) {});
  }
  EXPECT_EQ(ReadFile(work / "config.json", 100), "{}");
  EXPECT_EQ(ReadFile(work / "empty.json", 100), "");
  EXPECT_EQ(ReadFile(work / "model.safetensors", 1 << 20), Content(300'000));
  EXPECT_EQ(hub.store().requests().size(), 1u);
  EXPECT_EQ(hub.store().requests()[0].query, "sig=1");
}

TEST(Hub, ADownloadThatBreaksOffGoesOnWhereItStopped) {
  FakeHub hub({{"model.safetensors", Content(500'000)}});
  TemporaryDir work;
  hub.cuts = 3;
  const Fetched fetched = FetchLarge(&hub, work / "m", Quick(hub));
  EXPECT_EQ(fetched.content, Content(500'000));
  EXPECT_EQ(fetched.ranges, 3u);
  EXPECT_EQ(hub.store().requests().size(), 4u);
}

TEST(Hub, ALaterRunGoesOnToo) {
  FakeHub hub({{"model.safetensors", Content(500'000)}});
  TemporaryDir work;
  hub.cuts = 1;
  HubOptions once = Quick(hub);
  once.retries = 0;
  EXPECT_THROW(FetchLarge(&hub, work / "m", once), Error);
  EXPECT_FALSE(FileExists(work / "m"));
  EXPECT_EQ(std::filesystem::file_size(work / "m.part"), 250'000u);
  const Fetched fetched = FetchLarge(&hub, work / "m", once);
  EXPECT_EQ(fetched.content, Content(500'000));
  EXPECT_EQ(fetched.ranges, 1u);
}

TEST(Hub, AHubWithoutRangesStartsAgain) {
  FakeHub hub({{"model.safetensors", Content(500'000)}});
  TemporaryDir work;
  hub.cuts = 1;
  hub.knows_ranges = false;
  EXPECT_EQ(FetchLarge(&hub, work / "m", Quick(hub)).content, Content(500'000));
}

TEST(Hub, AWrongContentIsFetchedAgainOnceThenRefused) {
  FakeHub hub({{"model.safetensors", Content(50'000)}});
  TemporaryDir work;
  hub.spoiled = 1;
  EXPECT_EQ(FetchLarge(&hub, work / "m", Quick(hub)).content, Content(50'000));
  hub.spoiled = 2;
  EXPECT_THROW(FetchLarge(&hub, work / "n", Quick(hub)), Error);
  EXPECT_FALSE(FileExists(work / "n"));
  // A part of something else.
  WriteFile(work / "o.part", std::string(20'000, 'x'));
  EXPECT_EQ(FetchLarge(&hub, work / "o", Quick(hub)).content, Content(50'000));
  WriteFile(work / "p.part", std::string(60'000, 'x'));
  EXPECT_EQ(FetchLarge(&hub, work / "p", Quick(hub)).content, Content(50'000));
}

TEST(Hub, TheTokenGoesToTheHubAlone) {
  FakeHub hub({{"model.safetensors", Content(2'000)}});
  hub.token = "hf_secret";
  TemporaryDir work;
  HubOptions options = Quick(hub);
  try {
    Hub(options).Find("owner/name", "main");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("HF_TOKEN"), std::string::npos);
  }
  options.token = "hf_secret";
  EXPECT_EQ(FetchLarge(&hub, work / "m", options).content, Content(2'000));
  for (const HttpRequest& request : hub.store().requests())
    EXPECT_EQ(request.Header("authorization"), "");
}

TEST(Hub, NamesThatAreNoneAndModelsThatAreNotThere) {
  FakeHub hub({});
  const Hub client(Quick(hub));
  for (const char* bad : {"", "a/b/c", "../x", "a/..", "/a", "a/", "a b", "a?b", "a%2fb", "a\nb"})
    EXPECT_THROW(client.Find(bad, "main"), Error) << bad;
  EXPECT_TRUE(hub.hub().requests().empty());
  try {
    client.Find("owner/other", "main");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kNetwork);
    EXPECT_NE(error.hint(), "");
  }
  EXPECT_THROW(client.Find("owner/name", "../../x?y"), Error);
  EXPECT_EQ(hub.hub().requests().back().target,
            "/api/models/owner/name/revision/..%2F..%2Fx%3Fy?blobs=true");
}

TEST(Hub, HostileListingsAreErrors) {
  FakeHub hub({});
  const std::string head = R"({"sha":"0123456789abcdef0123456789abcdef01234567","siblings":[)";
  const auto lfs = [](const std::string& sum) {
    return R"({"rfilename":"a","size":1,"lfs":{"sha256":")" + sum + "\"}}";
  };
  for (const std::string& listing :
       {std::string("{"), std::string("[]"), std::string("{\"sha\":\"x\",\"siblings\":[]}"),
        head + "7]}", head + "{}]}", head + R"({"rfilename":"../a","size":1}]})",
        head + R"({"rfilename":"/etc/passwd","size":1}]})",
        head + R"({"rfilename":"a/./b","size":1}]})", head + R"({"rfilename":"a\\b","size":1}]})",
        head + R"({"rfilename":"a\u0000","size":1}]})", head + R"({"rfilename":"","size":1}]})",
        head + R"({"rfilename":"a","size":-1}]})", head + R"({"rfilename":"a"}]})",
        head + R"({"rfilename":"a","size":1},{"rfilename":"a","size":1}]})",
        head + lfs("abc") + "]}", head + lfs(std::string(64, 'G')) + "]}"}) {
    hub.listing = listing;
    EXPECT_THROW(Hub(Quick(hub)).Find("owner/name", "main"), Error) << listing;
  }
}

TEST(Hub, RedirectsEndAndStaySafe) {
  std::string location;
  testing::ScriptedServer server([&](std::shared_ptr<HttpExchange> exchange) {
    exchange->Respond({.status = 302, .headers = {{"location", location}}});
  });
  for (const char* to : {"/again", "file:///etc/passwd", "", "//other/x", "ftp://x/"}) {
    location = to;
    EXPECT_THROW(Hub({.endpoint = server.url()}).Find("a/b", "main"), Error) << to;
  }
  EXPECT_LE(server.requests().size(), 10u);
}

HubModel ModelOf(std::initializer_list<const char*> paths) {
  HubModel model{.name = "o/n"};
  for (const char* path : paths) model.files.push_back({.path = path});
  return model;
}

std::string Selected(const HubModel& model, const std::string& type = "") {
  std::string names;
  for (const HubFile& file : SelectModelFiles(model, type)) names += file.path + " ";
  return names;
}

TEST(HubFiles, AFolderModelIsItsWeightsTokenizerAndTexts) {
  EXPECT_EQ(Selected(ModelOf({".gitattributes", "LICENSE", "README.md", "config.json", "img/a.png",
                              "model.safetensors", "modeling_x.py", "onnx/model.safetensors",
                              "pytorch_model.bin", "tokenizer.json"})),
            "LICENSE README.md config.json model.safetensors tokenizer.json ");
  EXPECT_THROW(Selected(ModelOf({"config.json", "pytorch_model.bin"})), Error);
  EXPECT_THROW(Selected(ModelOf({})), Error);
  EXPECT_THROW(Selected(ModelOf({"config.json", "model.safetensors"}), "Q4_0"), Error);
}

TEST(HubFiles, GgufFilesAreChosenByTypeWithAllTheirParts) {
  const HubModel model =
      ModelOf({"README.md", "mmproj-F16.gguf", "m-Q4_K_M.gguf", "m-Q4_K.gguf",
               "Q8_0/m-Q8_0-00002-of-00002.gguf", "Q8_0/m-Q8_0-00001-of-00002.gguf"});
  EXPECT_EQ(Selected(model, "q4_k_m"), "m-Q4_K_M.gguf ");
  EXPECT_EQ(Selected(model, "Q4_K"), "m-Q4_K.gguf ");
  EXPECT_EQ(Selected(model, "Q8_0"),
            "Q8_0/m-Q8_0-00001-of-00002.gguf Q8_0/m-Q8_0-00002-of-00002.gguf ");
  EXPECT_THROW(Selected(model), Error);
  EXPECT_THROW(Selected(model, "Q5_0"), Error);
  EXPECT_EQ(Selected(ModelOf({"only.gguf"})), "only.gguf ");
  EXPECT_THROW(Selected(ModelOf({"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"})), Error);
  EXPECT_THROW(Selected(ModelOf({"m-00001-of-00003.gguf", "m-00002-of-00003.gguf"})), Error);
}

}  // namespace
}  // namespace planish
