# SPDX-License-Identifier: Apache-2.0
# Cross build for 64-bit Arm with Debian's compiler and the arm64 libraries of packages-aarch64.txt, side by side with the
# native ones (multiarch). Programs run under qemu-user. `make test-aarch64` uses it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# Packages of that architecture and of none, never the native ones.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64) # QEMU_CPU chooses the CPU
