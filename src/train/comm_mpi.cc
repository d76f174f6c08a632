// SPDX-License-Identifier: Apache-2.0
#include "train/comm_mpi.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "train/mpi_api.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLifeTag = kReservedTags + 1;
constexpr std::chrono::seconds kLifeInterval{1};
constexpr size_t kMessageBytes = size_t{1} << 30;  // an MPI count is an int
constexpr char kAlive = 0, kBye = 1;
// How long the thread keeps asking before it sleeps between questions: transfers that are under way end soon.
constexpr std::chrono::milliseconds kEager{1};

const PlanishMpi* OpenPlugin() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const char* const name = "libplanish_mpi.so";
  std::string reasons;
  for (const std::filesystem::path& path :
       {program.parent_path() / name, program.parent_path() / "../lib/planish" / name}) {
    // RTLD_GLOBAL: Open MPI opens components of its own, which look for its symbols.
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      reasons += std::string(reasons.empty() ? "" : "; ") + dlerror();
      continue;
    }
    const auto get = reinterpret_cast<decltype(&planish_mpi)>(dlsym(library, "planish_mpi"));
    const PlanishMpi* api = get == nullptr ? nullptr : get(kPlanishMpiVersion);
    if (api != nullptr) return api;
    reasons += path.string() + " is of another version of planish";
  }
  throw Error(ExitCode::kFailure, "cannot open the MPI plugin: " + reasons,
              "install Open MPI (Debian: openmpi-bin, libopenmpi3) and keep libplanish_mpi.so "
              "beside the program");
}

// What the thread that makes the MPI calls works with. The thread holds it too: it outlives a Comm that an error ended.
class MpiWorker {
 public:
  using Ticket = Comm::Ticket;
  explicit MpiWorker(const MpiOptions& options) : options_(options), mpi_(OpenPlugin()) {}

  // Lets the other ranks know; the thread ends when all have said so.
  void Stop() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    wake_.notify_all();
  }

  size_t rank() const { return static_cast<size_t>(rank_); }
  size_t size() const { return static_cast<size_t>(size_); }

  Ticket Start(std::vector<Transfer> transfers) {
    const std::lock_guard lock(mutex_);
    const Ticket ticket = next_ticket_++;
    waiting_[ticket] = 1;  // until they are posted
    posted_.push_back({ticket, std::move(transfers)});
    wake_.notify_all();
    return ticket;
  }

  void Wait(Ticket ticket) {
    std::unique_lock lock(mutex_);
    PLANISH_CHECK(waiting_.contains(ticket), "ticket {} waited for twice", ticket);
    done_.wait(lock, [&] { return waiting_.at(ticket) == 0; });
    waiting_.erase(ticket);
  }

  [[noreturn]] void Abort(int status, const std::string& message) {
    std::fprintf(stderr, "error: rank %d: %s\n", rank_, message.c_str());
    std::fflush(stderr);
    {
      const std::lock_guard lock(mutex_);
      abort_status_ = status;
    }
    wake_.notify_all();
    // The thread that owns MPI ends the process; if it cannot, this does.
    std::this_thread::sleep_for(std::chrono::seconds(5));
    std::_Exit(status);
  }

 private:
  struct Job {
    Ticket ticket;
    std::vector<Transfer> transfers;
  };
  struct Request {
    void* handle;
    Ticket ticket;  // kNoTicket: a sign of life
  };
  static constexpr Ticket kNoTicket = ~Ticket{0};

  void Check(int error, const char* what) {
    if (error == 0) return;
    char text[256] = "";
    mpi_->describe(error, text, sizeof text);
    Die(std::string(what) + ": " + text);
  }
  [[noreturn]] void Die(const std::string& message) {
    std::fprintf(stderr, "error: rank %d: %s\n", rank_, message.c_str());
    std::fflush(stderr);
    End(static_cast<int>(ExitCode::kFailure));
  }
  [[noreturn]] void End(int status) {
    mpi_->abort(status);
    std::_Exit(status);
  }

  void Post(const Job& job) {
    size_t count = 0;
    for (const Transfer& transfer : job.transfers) {
      PLANISH_CHECK((transfer.send == nullptr) != (transfer.receive == nullptr));
      for (size_t at = 0; at < std::max<size_t>(transfer.bytes, 1); at += kMessageBytes, ++count) {
        const int bytes = static_cast<int>(std::min(kMessageBytes, transfer.bytes - at));
        const int peer = static_cast<int>(transfer.peer);
        void* handle = nullptr;
        if (transfer.send != nullptr)
          Check(mpi_->send(static_cast<const char*>(transfer.send) + at, bytes, peer, transfer.tag,
                           &handle),
                "sending");
        else
          Check(mpi_->receive(static_cast<char*>(transfer.receive) + at, bytes, peer, transfer.tag,
                              &handle),
                "receiving");
        requests_.push_back({handle, job.ticket});
      }
    }
    Finished(job.ticket, 1 - static_cast<ptrdiff_t>(count));
  }

  // `n` parts of a ticket are done (posting adds its parts as a negative number).
  void Finished(Ticket ticket, ptrdiff_t n) {
    const std::lock_guard lock(mutex_);
    waiting_.at(ticket) -= n;
    if (waiting_.at(ticket) == 0) done_.notify_all();
  }

  void SayAlive(char what) {
    life_sent_ = what;
    void* handle = nullptr;
    Check(mpi_->send(&life_sent_, 1, (rank_ + 1) % size_, kLifeTag, &handle), "sign of life");
    requests_.push_back({handle, kNoTicket});
    is_life_sending_ = true;
    last_said_ = Clock::now();
  }
  void ListenForLife() {
    Check(mpi_->receive(&life_heard_, 1, (rank_ + size_ - 1) % size_, kLifeTag, &life_request_),
          "sign of life");
  }
  void TendLife() {
    if (size_ == 1) return;
    const auto now = Clock::now();
    if (!is_life_sending_ && life_sent_ != kBye && now - last_said_ >= kLifeInterval)
      SayAlive(kAlive);
    int is_done = 0;
    if (life_request_ != nullptr) {
      Check(mpi_->test(life_request_, &is_done), "sign of life");
      if (is_done) {
        last_heard_ = now;
        life_request_ = nullptr;
        if (life_heard_ != kBye) ListenForLife();
      }
    }
    const double silence = std::chrono::duration<double>(now - last_heard_).count();
    if (life_heard_ != kBye && silence > options_.silence_limit_s) {
      const size_t before = static_cast<size_t>((rank_ + size_ - 1) % size_);
      Die(
          fmt::format("rank {} on {} has not been heard of for {:.0f} s; ending the job (restart "
                      "continues from the last checkpoint)",
                      before, hosts_.empty() ? "unknown host" : hosts_[before], silence));
    }
  }

  // One question to every request; true if any was done.
  bool TestAll() {
    bool any = false;
    for (size_t i = 0; i < requests_.size();) {
      int is_done = 0;
      Check(mpi_->test(requests_[i].handle, &is_done), "message");
      if (!is_done) {
        ++i;
        continue;
      }
      any = true;
      const Ticket ticket = requests_[i].ticket;
      requests_.erase(requests_.begin() + static_cast<ptrdiff_t>(i));
      if (ticket == kNoTicket)
        is_life_sending_ = false;
      else
        Finished(ticket, 1);
    }
    return any;
  }

 public:
  // The thread: until Stop.
  void Run(std::promise<void>& joined) {
    Check(mpi_->init(&rank_, &size_), "joining the job");
    joined.set_value();
    last_said_ = last_heard_ = Clock::now();
    if (size_ > 1) {
      ListenForLife();
      SayAlive(kAlive);
    }
    auto active = Clock::now();
    for (;;) {
      std::vector<Job> jobs;
      bool is_stopping = false;
      {
        std::unique_lock lock(mutex_);
        if (posted_.empty() && requests_.empty() && !is_stopping_ && abort_status_ == 0)
          wake_.wait_for(lock, std::chrono::milliseconds(100));
        jobs.swap(posted_);
        is_stopping = is_stopping_;
        if (abort_status_ != 0) End(abort_status_);
      }
      for (const Job& job : jobs) Post(job);
      if (TestAll() || !jobs.empty()) active = Clock::now();
      TendLife();
      if (is_stopping && jobs.empty() && requests_.empty()) {
        if (size_ == 1) break;
        if (life_sent_ != kBye)
          SayAlive(kBye);
        else if (life_heard_ == kBye)
          break;
      }
      if (Clock::now() - active < kEager)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    mpi_->finalize();
  }

  std::string HostName() const {
    char name[256] = "";
    mpi_->host_name(name, sizeof name);
    return name;
  }
  void SetHosts(std::vector<std::string> hosts) { hosts_ = std::move(hosts); }

 private:
  const MpiOptions options_;
  const PlanishMpi* mpi_;
  int rank_ = 0, size_ = 1;
  std::vector<std::string> hosts_;  // by rank; set before messages flow
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<Job> posted_;
  std::map<Ticket, ptrdiff_t> waiting_;  // parts not done yet
  Ticket next_ticket_ = 0;
  bool is_stopping_ = false;
  int abort_status_ = 0;

  // Of the thread.
  std::vector<Request> requests_;
  char life_sent_ = kAlive, life_heard_ = kAlive;
  bool is_life_sending_ = false;
  void* life_request_ = nullptr;
  Clock::time_point last_said_, last_heard_;
};

class MpiComm : public Comm {
 public:
  explicit MpiComm(const MpiOptions& options) : worker_(std::make_shared<MpiWorker>(options)) {
    std::promise<void> joined;
    auto is_joined = joined.get_future();
    thread_ = std::thread([worker = worker_, &joined] { worker->Run(joined); });
    is_joined.wait();
    worker_->SetHosts(AllGather(worker_->HostName()));
  }
  ~MpiComm() override {
    // An error on its way out must not wait for ranks that know nothing of it: the process ends without a goodbye, and
    // mpirun ends the others.
    if (std::uncaught_exceptions() > 0) {
      thread_.detach();
      return;
    }
    worker_->Stop();
    thread_.join();
  }
  size_t rank() const override { return worker_->rank(); }
  size_t size() const override { return worker_->size(); }
  Ticket Start(std::vector<Transfer> transfers) override {
    return worker_->Start(std::move(transfers));
  }
  void Wait(Ticket ticket) override { worker_->Wait(ticket); }
  void Abort(int status, const std::string& message) override { worker_->Abort(status, message); }

 private:
  std::shared_ptr<MpiWorker> worker_;
  std::thread thread_;
};

}  // namespace

bool IsUnderMpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

std::unique_ptr<Comm> JoinMpi(const MpiOptions& options) {
  return std::make_unique<MpiComm>(options);
}

void RequireEqual(Comm& comm, const std::string& what, const std::string& value) {
  const std::vector<std::string> all = comm.AllGather(value);
  std::string differing;
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0]) differing += (differing.empty() ? "" : ", ") + std::to_string(r);
  if (differing.empty()) return;
  throw UsageError("{} differs between ranks: rank 0 has {}, rank {} has {}", what, Quoted(all[0]),
                   differing, Quoted(all[std::stoul(differing)]));
}

}  // namespace planish
