// SPDX-License-Identifier: Apache-2.0
// For tests only: a certificate of localhost and 127.0.0.1 that it signed itself, and its key, which protects nothing.
#pragma once

namespace planish::testing {

inline constexpr char kTestCertificate[] = R"(
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUDlGTq5PwcT0z0R+ek7iu/gHvXqYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE1MjkyOVoYDzIxMjYxMDI5
MTUyOTI5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQGCcfR2KJcaTXdNus28jTU0vFJ0DfSquwk2OIAy7WR9XSzX3XwNlu7
DDrpxZZSBw0MjFmobZGJ3SH47FPsJgtNo28wbTAdBgNVHQ4EFgQUGVRE0C9w+dPn
Zh8Fok7ZQtGboJIwHwYDVR0jBBgwFoAUGVRE0C9w+dPnZh8Fok7ZQtGboJIwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAIbCmu4finFvNF2k+yTPW0B/gVRYy2uRWzVLCq9WBYLbAiEA
mIEf9P0LkhWk/zRvMSdan+dwUvviDrz1QYoBKR1CONA=
-----END CERTIFICATE-----
)";

inline constexpr char kTestKey[] = R"(
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoQpWtV/om+dHYEn+
CcnZG4ipmvSKw+NNsXoE/l8USbahRANCAAQGCcfR2KJcaTXdNus28jTU0vFJ0DfS
quwk2OIAy7WR9XSzX3XwNlu7DDrpxZZSBw0MjFmobZGJ3SH47FPsJgtN
-----END PRIVATE KEY-----
)";

}  // namespace planish::testing
