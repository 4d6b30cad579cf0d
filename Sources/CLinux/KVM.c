// The signal that takes a vCPU's thread out of KVM_RUN, with declarations that Swift's Glibc module
// is built without.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "KVM.h"

// A real-time signal, so that nothing else in the process means anything by it.
static int kick_signal(void) { return SIGRTMIN + 2; }

static void ignore(int number) { (void)number; }

int godwit_kvm_install_kick(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = ignore;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: the interrupted call must return.
  return sigaction(kick_signal(), &action, NULL) < 0 ? -errno : 0;
}

int godwit_kvm_kick(int thread) {
  return syscall(SYS_tgkill, getpid(), thread, kick_signal()) < 0 ? -errno : 0;
}

int godwit_kvm_thread(void) {
  static __thread int number = 0;
  if (number == 0) {
    // A thread started from one of libdispatch's inherits a mask that blocks nearly everything.
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, kick_signal());
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    number = (int)syscall(SYS_gettid);
  }
  return number;
}
