// SPDX-License-Identifier: Apache-2.0
// What a verb is: a name, its options, a Run. One file a verb; the list is in verbs.cc. CLI11 is hidden behind OptionSet,
// because it costs nine seconds per file that includes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace planish {

// Declares options on targets whose present values are the defaults. Every option --some-name can also be set by the
// environment variable PLANISH_SOME_NAME; the command line wins.
class OptionSet {
 public:
  virtual ~OptionSet() = default;
  // names: "-m,--model". Required options say so in the help.
  virtual void Text(const char* names, std::string* target, const char* help,
                    bool required = false) = 0;
  // The value may be left out; the option alone then means `implied`.
  virtual void OptionalText(const char* names, std::string* target, const char* implied,
                            const char* help) = 0;
  virtual void Choice(const char* names, std::string* target, std::vector<std::string> choices,
                      const char* help) = 0;
  virtual void Int(const char* names, int64_t* target, int64_t low, int64_t high,
                   const char* help) = 0;
  virtual void Real(const char* names, double* target, double low, double high,
                    const char* help) = 0;
  virtual void Bytes(const char* names, uint64_t* target,
                     const char* help) = 0;  // 22GiB, 22G, 512MiB or bytes
  // Whole numbers with commas between: "1,2,8".
  virtual void IntList(const char* names, std::vector<int64_t>* target, int64_t low, int64_t high,
                       const char* help) = 0;
  // May be given several times; in the environment once.
  virtual void TextList(const char* names, std::vector<std::string>* target, const char* help) = 0;
  virtual void Flag(const char* names, bool* target, const char* help) = 0;
  virtual void Positional(const char* name, std::vector<std::string>* target, const char* help,
                          bool required = false) = 0;
  // Options declared from here on stand under this heading in the help.
  virtual void Group(const char* heading) = 0;
  // True if the user gave the option, on the command line or by the environment.
  virtual bool WasGiven(const char* name) const = 0;
};

class Verb {
 public:
  virtual ~Verb() = default;
  virtual const char* name() const = 0;
  virtual const char* group() const = 0;     // "make", "shrink", "run", "measure"
  virtual const char* summary() const = 0;   // one line
  virtual const char* examples() const = 0;  // two, one a line
  virtual void Declare(OptionSet* options) = 0;
  // True if Declare has a -t,--threads of its own, e.g. a list; RunCommandLine then sets no team.
  virtual bool declares_threads() const { return false; }
  // True if -c,--config may name a TOML file with the verb's options (cli/option_file.h).
  virtual bool reads_options_from_file() const { return false; }
  // Prints what --print-config asks for and returns true, if the options alone do not say it (a recipe).
  virtual bool PrintConfig(const OptionSet&) { return false; }
  virtual ExitCode Run(const OptionSet& options) = 0;
};

std::vector<std::unique_ptr<Verb>> AllVerbs();

// Parses the command line, runs the verb, turns errors into one line on stderr and the documented exit status.
int RunCommandLine(int argc, char** argv, const std::string& version);

// As given to RunCommandLine.
const std::string& ProgramVersion();

// Everything printed so far goes out; Error(kFailure) if any of it was lost (a closed pipe, a full disk).
void FlushOutput();

// "22GiB", "22G", "512M", "4096": bytes. Error(kUsage) otherwise.
uint64_t ParseBytes(const std::string& text);

}  // namespace planish
