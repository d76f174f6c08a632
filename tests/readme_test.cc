// SPDX-License-Identifier: Apache-2.0
// The commands of README.md, as they stand there: each `$ build/planish ...` line of its code blocks runs, with the real
// model when it is there (see smollm2_test.cc) and in a folder of its own.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "base/testing.h"
#include "golden_case.h"
#include "run_program.h"

namespace planish::testing {
namespace {

std::vector<std::string> ReadmeCommands() {
  std::ifstream readme(PLANISH_SOURCE_DIR "/README.md");
  std::vector<std::string> commands;
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("$ build/planish "))
      commands.push_back(line.substr(2, line.find(" #") - 2));
  }
  return commands;
}

TEST(Readme, CommandsRunAsTheyStand) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "minutes under sanitizers; the same verbs are covered there on tiny models";
#endif
  const std::string model = SmolLm2Path();
  if (model.empty())
    GTEST_SKIP() << "no SmolLM2 file: set PLANISH_SMOLLM2 or run `make smollm2` once";
  const std::vector<std::string> commands = ReadmeCommands();
  ASSERT_GE(commands.size(), 5u);
  const TemporaryDir work;
  for (std::string command : commands) {
    command = std::regex_replace(command, std::regex("^build/planish"), PLANISH_BINARY);
    const std::string script = "cd '" + work.path() +
                               "' && cp -n '" PLANISH_SOURCE_DIR
                               "/README.md' . && mkdir -p recipes && cp -rn '" PLANISH_SOURCE_DIR
                               "/recipes/tiny' recipes/ && M='" +
                               model + "' && " + command + " < /dev/null > out.txt 2> err.txt";
    const int status =
        std::system(("timeout 120 bash -c \"$(cat <<'END'\n" + script + "\nEND\n)\"").c_str());
    // chat without a terminal and without a message says so; everything else succeeds.
    const int expected = command.find(" chat ") != std::string::npos ? 2 : 0;
    EXPECT_EQ(WEXITSTATUS(status), expected) << command;
  }
}

}  // namespace
}  // namespace planish::testing
