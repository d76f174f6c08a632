// SPDX-License-Identifier: Apache-2.0
#include "train/comm.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace planish {
namespace {

constexpr int kLengthTag = 1, kBodyTag = 2;

class LocalComm : public Comm {
 public:
  size_t rank() const override { return 0; }
  size_t size() const override { return 1; }
  Ticket Start(std::vector<Transfer> transfers) override {
    PLANISH_CHECK(transfers.empty(), "a single rank has no peers");
    return 0;
  }
  void Wait(Ticket) override {}
  void Abort(int status, const std::string& message) override {
    std::fprintf(stderr, "error: %s\n", message.c_str());
    std::_Exit(status);
  }
};

}  // namespace

std::vector<std::vector<std::byte>> Comm::AllGather(std::span<const std::byte> own) {
  std::vector<std::vector<std::byte>> all(size());
  all[rank()].assign(own.begin(), own.end());
  const uint64_t length = own.size();
  std::vector<uint64_t> lengths(size(), 0);
  std::vector<Transfer> transfers;
  for (size_t peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    transfers.push_back(
        {.peer = peer, .tag = kLengthTag, .send = &length, .bytes = sizeof(length)});
    transfers.push_back(
        {.peer = peer, .tag = kLengthTag, .receive = &lengths[peer], .bytes = sizeof(uint64_t)});
  }
  Wait(Start(transfers));
  transfers.clear();
  for (size_t peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    all[peer].resize(lengths[peer]);
    if (length > 0)
      transfers.push_back({.peer = peer, .tag = kBodyTag, .send = own.data(), .bytes = length});
    if (lengths[peer] > 0)
      transfers.push_back(
          {.peer = peer, .tag = kBodyTag, .receive = all[peer].data(), .bytes = all[peer].size()});
  }
  Wait(Start(transfers));
  return all;
}

std::vector<std::vector<double>> Comm::AllGather(std::span<const double> own) {
  std::vector<std::vector<double>> all;
  for (const auto& bytes : AllGather(std::as_bytes(own))) {
    all.emplace_back(bytes.size() / sizeof(double));
    std::memcpy(all.back().data(), bytes.data(), bytes.size());
  }
  return all;
}

std::vector<std::string> Comm::AllGather(const std::string& own) {
  std::vector<std::string> all;
  for (const auto& bytes : AllGather(std::as_bytes(std::span(own))))
    all.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return all;
}

std::unique_ptr<Comm> MakeLocalComm() { return std::make_unique<LocalComm>(); }

}  // namespace planish
