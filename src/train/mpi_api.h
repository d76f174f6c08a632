// SPDX-License-Identifier: Apache-2.0
// What the plugin libplanish_mpi.so offers: the few MPI functions that planish needs, behind a C interface. The program opens the
// plugin only when it runs with several ranks, so nobody else needs or loads an MPI library. All functions are called from the
// thread that called `init`; they return 0, or an error whose text `describe` gives.
#pragma once

#include <cstdint>

extern "C" {

struct PlanishMpi {
  int (*init)(int* rank, int* size);
  // Start a message; *request is given back by `test` once it is done. bytes fits an int.
  int (*send)(const void* data, int bytes, int peer, int tag, void** request);
  int (*receive)(void* data, int bytes, int peer, int tag, void** request);
  int (*test)(void* request, int* is_done);
  void (*describe)(int error, char* text, int text_bytes);
  void (*host_name)(char* name, int name_bytes);
  void (*abort)(int status);
  int (*finalize)();
};

// Null if the plugin was built for another version of this struct.
const PlanishMpi* planish_mpi(int version);
}

inline constexpr int kPlanishMpiVersion = 1;
