// SPDX-License-Identifier: Apache-2.0
// `planish chat` at a terminal: a pseudo-terminal types what a user would type and reads what the user would see.
#include <sys/stat.h>

#include <filesystem>

#include "golden_case.h"
#include "run_program.h"
#include "terminal.h"

namespace planish::testing {
namespace {

// A golden model with a chat template without thinking mode.
class ChatTerminalGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::string& name : GoldenModels()) {
      if (FileExists(GoldenDir() + "/models/" + name + "/tokenizer.json"))
        source_ = GoldenDir() + "/models/" + name;
    }
    if (source_.empty())
      GTEST_SKIP() << GoldenDir() << "/models has no model with a tokenizer: set PLANISH_GOLDEN";
    std::filesystem::copy(source_, model_, std::filesystem::copy_options::recursive);
    WriteFile(model_ + "/chat_template.jinja",
              "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
    WriteFile(model_ + "/generation_config.json",
              "{\"eos_token_id\": []}");  // answers end where -n says
  }
  std::vector<std::string> Chat(const std::string& new_tokens = "6") const {
    return {"chat", "-m", model_, "-n", new_tokens, "--greedy", "--ctx", "200000"};
  }

  TemporaryDir work_;
  std::string source_;
  const std::string model_ = work_ / "model", state_ = work_ / "state";
};

TEST_F(ChatTerminalGolden, CommandsAnswerAndTheHistoryIsPrivate) {
  Terminal terminal(Chat(), state_);
  ASSERT_TRUE(terminal.Shows("no thinking mode. /help lists commands."));
  const auto say = [&](const std::string& line, const std::string& answer) {
    terminal.Type(line + "\n");
    EXPECT_TRUE(terminal.Shows(answer)) << line << "\n" << terminal.screen();
    EXPECT_TRUE(terminal.Shows("> ")) << line;
  };
  say("Hello there", "prompt ");
  say("/think on", "error: this model has no thinking mode");
  say("/budget 100", "error: this model has no thinking mode");
  say("/set temperature=nan", "error: 'nan'");
  say("/bogus", "error: unknown command '/bogus'");
  say("/regen", "answer ");
  say("/save " + (work_ / "chat.json"), "chat.json");
  say("/undo", "dropped 'Hello there'");
  say("/undo", "error: there is no message to drop");
  say("/load " + (work_ / "chat.json"), "chat.json");
  say("/undo", "dropped 'Hello there'");
  terminal.Type("/hel\t\n");
  EXPECT_TRUE(terminal.Shows("Ctrl-C ends an answer"));
  say("first line\\\nsecond line", "answer ");
  say("/save " + (work_ / "lines.json"), "lines.json");
  terminal.Type("/exit\n");
  EXPECT_EQ(terminal.Wait(), 0);
  const Json lines = ReadJson(work_ / "lines.json");
  EXPECT_EQ(Member(lines.AsArray().at(0), "content"), Json("first line\nsecond line"));
  struct stat status {};
  ASSERT_EQ(stat((state_ + "/planish/history").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ChatTerminalGolden, APastedBlockIsOneMessageAndFastLinesAreNot) {
  Terminal terminal(Chat(), state_);
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("\033[200~caf\u00e9 one\rtwo\r\rfour\r\033[201~\n");
  ASSERT_TRUE(terminal.Shows("prompt "));
  terminal.Type("/save " + (work_ / "a.json") + "\n/clear\n/save " + (work_ / "b.json") +
                "\n/exit\n");
  EXPECT_EQ(terminal.Wait(), 0);
  const Json pasted = ReadJson(work_ / "a.json");
  EXPECT_EQ(Member(pasted.AsArray().at(0), "content"), Json("caf\u00e9 one\ntwo\n\nfour"));
  EXPECT_EQ(pasted.AsArray().size(), 2u);
  EXPECT_TRUE(ReadJson(work_ / "b.json").AsArray().empty());
}

TEST_F(ChatTerminalGolden, CtrlCEndsTheAnswerThenClearsTheLineThenExits) {
  Terminal terminal(Chat(/*new_tokens=*/"0"), state_);
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("Talk until I stop you\n");
  ASSERT_TRUE(terminal.Shows("stop you"));
  ASSERT_TRUE(terminal.ShowsMore(200));
  terminal.Type("\x03");
  ASSERT_TRUE(terminal.Shows("| interrupted"));
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("half a line");
  ASSERT_TRUE(terminal.Shows("half a line"));
  terminal.Type("\x03");
  ASSERT_TRUE(terminal.Shows("> "))
      << "the program stays; screen: " << terminal.screen() << "; status " << terminal.Wait();
  terminal.Type("/stats\n");
  ASSERT_TRUE(terminal.Shows("resident")) << "the half line is gone";
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("\x03");
  EXPECT_EQ(terminal.Wait(), 0) << terminal.screen();
}

TEST_F(ChatTerminalGolden, CtrlDExits) {
  Terminal terminal(Chat(), state_);
  ASSERT_TRUE(terminal.Shows("> "));
  terminal.Type("\x04");
  EXPECT_EQ(terminal.Wait(), 0);
}

TEST_F(ChatTerminalGolden, WithoutATerminalStdinIsOneMessage) {
  const Outcome outcome = RunProgram(Chat(), {.input = "Hello\nthere\n"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(outcome.out.empty());
  for (const char* empty : {"", "\n", " \t\n\n"}) {
    std::vector<std::string> arguments = Chat();
    arguments.push_back("--quiet");  // no warning of the long --ctx: what is left is the error
    const Outcome nothing = RunProgram(arguments, {.input = empty});
    EXPECT_EQ(nothing.status, 2);
    EXPECT_EQ(Lines(nothing.err).size(), 1u) << nothing.err;
  }
}

TEST(ChatProgram, ToolsRunInThisProcessToo) {
  const Outcome outcome = RunProgram({"chat", "-m", PLANISH_SOURCE_DIR "/models/planish-nano",
                                      "--tools", "--temperature", "0", "-t", "1"},
                                     {.input = "Name the color #b3602c."});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("name_a_color({\"color_hex\": \"#b3602c\"}) = {"), std::string::npos)
      << outcome.err;
  EXPECT_NE(outcome.err.find("\"sienna\""), std::string::npos) << outcome.err;
  EXPECT_FALSE(outcome.out.empty()) << "the answer after the result";
  EXPECT_EQ(outcome.out.find("TOOLCALL"), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace planish::testing
