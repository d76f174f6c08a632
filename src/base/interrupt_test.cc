// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

// In a child process whose parent left `inherited` for the signal (a background job ignores SIGINT, this test's own parent may
// too): writes half a file, raises the signal.
int StatusOfInterruptedWriter(const std::string& path, int signal,
                              void (*inherited)(int) = SIG_DFL) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(signal, inherited);
    InstallInterruptHandler();
    FileWriter writer(path);
    writer.Write("half");
    raise(signal);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Interrupt, LeavesNoTemporaryFileAndTheOldContent) {
  const testing::TemporaryDir folder;
  WriteFile(folder / "a", "old");
  EXPECT_EQ(StatusOfInterruptedWriter(folder / "a", SIGINT), 130);
  EXPECT_EQ(StatusOfInterruptedWriter(folder / "a", SIGTERM), 143);
  EXPECT_EQ(ReadFile(folder / "a", 100), "old");
  EXPECT_EQ(testing::Listing(folder.path()).size(), 1u);
}

TEST(Interrupt, WhatTheParentIgnoresIsIgnored) {
  const testing::TemporaryDir folder;
  EXPECT_EQ(StatusOfInterruptedWriter(folder / "a", SIGINT, SIG_IGN), 0);
  EXPECT_EQ(StatusOfInterruptedWriter(folder / "a", SIGTERM, SIG_IGN), 0);
}

TEST(Interrupt, MoreNamesThanSlotsAreHarmless) {
  std::vector<std::unique_ptr<TemporaryName>> names;
  for (int i = 0; i < 40; ++i)
    names.push_back(std::make_unique<TemporaryName>("/nowhere/" + std::to_string(i)));
}

}  // namespace
}  // namespace planish
