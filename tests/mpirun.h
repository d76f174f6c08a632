// SPDX-License-Identifier: Apache-2.0
// For tests: programs under Open MPI's mpirun on this host, or on "hosts" that are network namespaces made by the test.
#pragma once

#include <filesystem>

#include "base/file.h"
#include "run_program.h"

namespace planish::testing {

// Options that let ranks share few cores, whoever runs the test.
inline std::vector<std::string> MpirunArguments(size_t ranks) {
  return {"-n",   std::to_string(ranks), "--oversubscribe", "--bind-to", "none", "-x",
          "OMP_NUM_THREADS=1"};
}

// Root may run it in a container; what the MPI library never frees is no leak of ours.
inline std::vector<std::pair<std::string, std::string>> MpiEnvironment() {
  return {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
          {"ASAN_OPTIONS", "detect_leaks=0"}};
}

inline Outcome Mpirun(size_t ranks, const std::vector<std::string>& command,
                      std::vector<std::string> extra = {}, RunOptions options = {}) {
  std::vector<std::string> arguments = MpirunArguments(ranks);
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  arguments.insert(arguments.end(), command.begin(), command.end());
  for (const auto& variable : MpiEnvironment()) options.environment.push_back(variable);
  return RunAnyProgram("mpirun", arguments, options);
}

// `count` network namespaces on one bridge, each with an address of its own, seen by mpirun as hosts: its agent enters the
// namespace instead of using ssh. Needs root and iproute2: `is_ready` is false elsewhere.
class NamespaceHosts {
 public:
  explicit NamespaceHosts(size_t count) : prefix_("planish" + std::to_string(getpid())) {
    Sh("ip link add " + Bridge() + " type bridge && ip link set " + Bridge() + " up");
    for (size_t i = 0; i < count; ++i) {
      const std::string ns = Name(i), link = "pl" + std::to_string(getpid() % 100000) + "_" + std::to_string(i);
      names_.push_back(ns);
      Sh("ip netns add " + ns + " && ip link add " + link + " type veth peer name eth0 netns " + ns +
         " && ip link set " + link + " master " + Bridge() + " up && ip -n " + ns +
         " addr add 10.213.7." + std::to_string(i + 1) + "/24 dev eth0 && ip -n " + ns +
         " link set eth0 up && ip -n " + ns + " link set lo up");
    }
    const std::string dir = (std::filesystem::temp_directory_path() / prefix_).string();
    std::filesystem::create_directories(dir);
    agent_ = dir + "/agent.sh";
    // Called as `agent HOST COMMAND...`; what would run on the host runs in its namespace, under its name.
    WriteFile(agent_, "#!/bin/sh\nhost=$1; shift\nexec ip netns exec \"$host\" unshare --uts sh -c "
                      "\"hostname $host; $*\"\n");
    std::filesystem::permissions(agent_, std::filesystem::perms::owner_all);
    hostfile_ = dir + "/hosts";
    std::string hosts;
    for (const std::string& ns : names_) hosts += ns + " slots=1\n";
    WriteFile(hostfile_, hosts);
  }
  ~NamespaceHosts() {
    for (const std::string& ns : names_) Sh("ip netns del " + ns);
    Sh("ip link del " + Bridge());
    std::filesystem::remove_all(std::filesystem::path(agent_).parent_path());
  }
  bool is_ready() const { return is_ready_; }
  std::string Name(size_t i) const { return prefix_ + "h" + std::to_string(i); }
  // For mpirun, which itself runs inside the first namespace.
  std::vector<std::string> Arguments() const {
    return {"--hostfile", hostfile_, "--mca", "plm_rsh_agent", agent_, "--mca", "btl", "tcp,self",
            "--mca", "btl_tcp_if_include", "10.213.7.0/24", "--mca", "oob_tcp_if_include",
            "10.213.7.0/24"};
  }

 private:
  std::string Bridge() const { return "plbr" + std::to_string(getpid() % 100000); }
  void Sh(const std::string& command) {
    if (std::system(("(" + command + ") >/dev/null 2>&1").c_str()) != 0) is_ready_ = false;
  }
  static void WriteFile(const std::string& path, const std::string& text) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    PLANISH_CHECK(file != nullptr);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  std::string prefix_, agent_, hostfile_;
  std::vector<std::string> names_;
  bool is_ready_ = true;
};

}  // namespace planish::testing
