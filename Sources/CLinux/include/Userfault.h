// Userfaultfd's requests and the page-table scan, for Swift, which sees no function-like macros,
// and for headers older than the kernel. These numbers and layouts are ABI and never change.
#ifndef GODWIT_USERFAULT_H
#define GODWIT_USERFAULT_H

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>

/// `struct uffdio_copy`, `uffdio_zeropage`, `uffdio_continue`, `uffdio_writeprotect`, without
/// their unions: what each of them has comes first in the same order.
struct godwit_uffdio_copy {
  uint64_t target;
  uint64_t source;
  uint64_t length;
  uint64_t mode;
  int64_t copied;
};
_Static_assert(sizeof(struct godwit_uffdio_copy) == sizeof(struct uffdio_copy), "uffdio_copy");

struct godwit_uffdio_range_mode {
  uint64_t start;
  uint64_t length;
  uint64_t mode;
  int64_t done;
};
_Static_assert(sizeof(struct godwit_uffdio_range_mode) == sizeof(struct uffdio_zeropage),
               "uffdio_zeropage");
_Static_assert(sizeof(struct godwit_uffdio_range_mode) == sizeof(struct uffdio_continue),
               "uffdio_continue");

/// `struct uffd_msg`: the event's number and its three words.
struct godwit_uffd_message {
  uint8_t event;
  uint8_t reserved[7];
  uint64_t words[3];
};
_Static_assert(sizeof(struct godwit_uffd_message) == sizeof(struct uffd_msg), "uffd_msg");

/// `struct pm_scan_arg` (Linux 6.7).
struct godwit_pm_scan {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t region_count;
  uint64_t page_limit;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};

/// `struct page_region` (Linux 6.7).
struct godwit_page_region {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

#define GODWIT_REQUEST(name) static const unsigned long GODWIT_##name = name
GODWIT_REQUEST(UFFDIO_API);
GODWIT_REQUEST(UFFDIO_REGISTER);
GODWIT_REQUEST(UFFDIO_UNREGISTER);
GODWIT_REQUEST(UFFDIO_WAKE);
GODWIT_REQUEST(UFFDIO_COPY);
GODWIT_REQUEST(UFFDIO_ZEROPAGE);
GODWIT_REQUEST(UFFDIO_CONTINUE);
GODWIT_REQUEST(UFFDIO_WRITEPROTECT);
#undef GODWIT_REQUEST
static const unsigned long GODWIT_PAGEMAP_SCAN = _IOWR('f', 16, struct godwit_pm_scan);

#endif
