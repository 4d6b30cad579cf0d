// Kernel interfaces that Glibc's module does not show to Swift. Header-only; no logic.
// Every function returns its result or -errno, so that one value carries both.
#ifndef GODWIT_CLINUX_H
#define GODWIT_CLINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "Process.h"
#include "Transport.h"
#include "Files.h"
#include "Devices.h"
#include "Memory.h"
#include "Userfaultfd.h"
#include "KVM.h"
#include "Userfault.h"

#endif
