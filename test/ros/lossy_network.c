/* LD_PRELOADed into a process: loses UDP datagrams, both sent and received.

   LOSSY_PERCENT of them, chosen by a hash of their number, so that each run loses the same ones.
   LOSSY_COUNTS names a file of two uint64, datagrams and those lost; all processes share it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct { _Atomic uint64_t all, lost; } unread, *counts = (void *)&unread;
static uint64_t percent;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("LOSSY_COUNTS"), *text = getenv("LOSSY_PERCENT");
  int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
  if (file < 0 || !text || ftruncate(file, sizeof *counts)) return;
  void *shared = mmap(0, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) return;
  counts = shared;
  percent = strtoul(text, 0, 10);
}

static int is_udp(int socket) {
  int type = 0, family = 0;
  socklen_t size = sizeof type;
  getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size);
  getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return type == SOCK_DGRAM && (family == AF_INET || family == AF_INET6);
}

static int is_lost(int socket) {
  if (!is_udp(socket)) return 0;
  uint64_t hash = (counts->all++ + 1) * 0x9E3779B97F4A7C15u; /* splitmix64 */
  hash = (hash ^ hash >> 30) * 0xBF58476D1CE4E5B9u;
  hash = (hash ^ hash >> 27) * 0x94D049BB133111EBu;
  int lost = (hash ^ hash >> 31) % 100 < percent;
  counts->lost += lost;
  return lost;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  if (!is_lost(socket)) return REAL(sendmsg)(socket, message, flags);
  ssize_t size = 0;
  for (size_t i = 0; i < message->msg_iovlen; i++) size += message->msg_iov[i].iov_len;
  return size;
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t length) {
  return is_lost(socket) ? (ssize_t)size : REAL(sendto)(socket, data, size, flags, to, length);
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
  const struct msghdr before = *message;
  ssize_t size;
  do {
    *message = before;
    size = REAL(recvmsg)(socket, message, flags);
  } while (size >= 0 && !(flags & MSG_PEEK) && is_lost(socket));
  return size;
}

ssize_t recvfrom(int socket, void *data, size_t size, int flags, struct sockaddr *from,
                 socklen_t *length) {
  const socklen_t before = length ? *length : 0;
  ssize_t received;
  do {
    if (length) *length = before;
    received = REAL(recvfrom)(socket, data, size, flags, from, length);
  } while (received >= 0 && !(flags & MSG_PEEK) && is_lost(socket));
  return received;
}
