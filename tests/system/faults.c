/* Makes one call on files below a folder fail, or every call that needs room from it on: preloaded into a test's
   process, armed by `fault_arm`. As SQLite's own tests do it: at every call in turn. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, FULL, BROKEN, INTERRUPTED, SHORT };
static char root[4096];
static long at, count;
static int kind, busy;

void fault_arm(const char *folder, long call, int how) {
    strncpy(root, folder, sizeof root - 1);
    at = call, kind = how, count = 0;
}
long fault_count(void) { return count; }

static int below(const char *path) { return root[0] && path && strncmp(path, root, strlen(root)) == 0; }

static int holds(int fd) {
    char link[64], path[4096];
    if (!root[0] || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}

static int reaches(int folder, const char *path) {
    return path && (path[0] == '/' ? below(path) : folder != AT_FDCWD && holds(folder));
}

/* Whether this call fails; errno says how. room: whether it needs room on the disk. */
static int strikes(int room) {
    count++;
    if (kind == FULL) {
        if (at && count >= at && room) { errno = ENOSPC; return 1; }
        return 0;
    }
    if (!at || count != at) return 0;
    if (kind == BROKEN) { errno = EIO; return 1; }
    if (kind == INTERRUPTED) { errno = EINTR; return 1; }
    return 0;
}

static int grows(int fd, off_t from, size_t size) {
    struct stat now;
    if (fstat(fd, &now)) return 1;
    if (from < 0) from = lseek(fd, 0, SEEK_CUR);
    return from + (off_t)size > now.st_size;
}

static size_t shorter(size_t size) { return kind == SHORT && at && count == at && size > 1 ? size / 2 : size; }

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITES(name, arguments, from, ...) \
    ssize_t name arguments { \
        REAL(name); \
        if (holds(fd) && strikes(grows(fd, from, size))) return -1; \
        size = shorter(size); \
        return real(__VA_ARGS__); \
    }
WRITES(write, (int fd, const void *data, size_t size), -1, fd, data, size)
WRITES(pwrite, (int fd, const void *data, size_t size, off_t place), place, fd, data, size, place)
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t place), place, fd, data, size, place)

#define SYNCS(name) \
    int name(int fd) { \
        REAL(name); \
        if (holds(fd) && strikes(0)) return -1; \
        return real(fd); \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define CUTS(name, type) \
    int name(int fd, type size) { \
        REAL(name); \
        if (holds(fd) && strikes(grows(fd, 0, size))) return -1; \
        return real(fd, size); \
    }
CUTS(ftruncate, off_t)
CUTS(ftruncate64, off64_t)

#define OPENS(name, arguments, folder, ...) \
    int name arguments { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & O_CREAT) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (reaches(folder, path) && strikes((flags & O_CREAT) && faccessat(folder, path, F_OK, 0))) return -1; \
        return real(__VA_ARGS__, flags, mode); \
    }
OPENS(open, (const char *path, int flags, ...), AT_FDCWD, path)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD, path)
OPENS(openat, (int folder, const char *path, int flags, ...), folder, folder, path)
OPENS(openat64, (int folder, const char *path, int flags, ...), folder, folder, path)

int rename(const char *from, const char *to) {
    REAL(rename);
    if ((below(from) || below(to)) && strikes(1)) return -1;
    return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    if ((reaches(a, from) || reaches(b, to)) && strikes(1)) return -1;
    return real(a, from, b, to);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (below(path) && strikes(1)) return -1;
    return real(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    if (reaches(folder, path) && strikes(1)) return -1;
    return real(folder, path, mode);
}
int unlink(const char *path) {
    REAL(unlink);
    if (below(path) && strikes(0)) return -1;
    return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    if (reaches(folder, path) && strikes(0)) return -1;
    return real(folder, path, flags);
}

#define MAPS(name, type) \
    void *name(void *where, size_t size, int protection, int flags, int fd, type from) { \
        REAL(name); \
        if (!busy && fd >= 0) { \
            busy = 1; \
            int struck = holds(fd) && strikes(0); \
            busy = 0; \
            if (struck) { errno = kind == BROKEN ? EIO : errno; return MAP_FAILED; } \
        } \
        return real(where, size, protection, flags, fd, from); \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)
