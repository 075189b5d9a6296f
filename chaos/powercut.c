/* Records what a process does to the files of one folder, for a later power cut.
 *
 * Preloaded into the process that keeps a store. POWERCUT_FOLDER is the folder, POWERCUT_LOG the file that gets
 * one record for each call that succeeded: open (created or emptied), write, truncate, sync, rename and unlink.
 * A sync has two records, one before it and one after it: only what was written before it began is safe after it.
 * The log is opened for appending and a record is one writev, so that several processes may share it, and their
 * records are in the order in which the calls ended.
 *
 * Not seen: writes through stdio and through mmap. Stores use neither for what they must not lose.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The same head as HEAD in powercut.py; the path and the data follow it. */
struct head {
    uint32_t kind, path_length;
    int64_t offset, data_length;
};

enum { CREATE = 1, WRITE, TRUNCATE, SYNC_BEGINS, SYNC_ENDS, RENAME, UNLINK };

static int log_fd = -1;
static char folder[PATH_MAX];
static size_t folder_length;

/* The function of the C library that one of ours replaces. */
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("POWERCUT_LOG"), *watched = getenv("POWERCUT_FOLDER");
    if (!log || !watched || !realpath(watched, folder)) return;
    folder_length = strlen(folder);
    REAL(open);
    log_fd = real(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The part of a path inside the folder; NULL for a path elsewhere. */
static const char *inside(const char *path) {
    if (log_fd < 0 || strncmp(path, folder, folder_length)) return NULL;
    if (path[folder_length] == '\0') return "";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *name_of_fd(int fd, char *buffer) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = log_fd < 0 ? -1 : readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = '\0';
    return strstr(buffer, " (deleted)") ? NULL : inside(buffer); /* it is lost in any case */
}

/* The name of a file that need not exist: its folder is resolved, its last part stays. */
static const char *name_of_path(int at, const char *path, char *buffer) {
    char parent[PATH_MAX], joined[PATH_MAX];
    if (log_fd < 0 || strlen(path) >= PATH_MAX) return NULL;
    if (path[0] != '/' && at != AT_FDCWD) {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, parent, PATH_MAX - 1);
        if (length < 0) return NULL;
        parent[length] = '\0';
        if (snprintf(joined, sizeof joined, "%s/%s", parent, path) >= (int)sizeof joined) return NULL;
    } else {
        strcpy(joined, path);
    }
    char *slash = strrchr(joined, '/');
    const char *last = slash ? slash + 1 : joined;
    if (slash) *slash = '\0';
    if (!realpath(slash ? (*joined ? joined : "/") : ".", parent)) return NULL;
    if (snprintf(buffer, PATH_MAX, "%s/%s", parent, last) >= PATH_MAX) return NULL;
    return inside(buffer);
}

static void record(int kind, const char *name, int64_t offset, const void *data, size_t length) {
    if (!name) return;
    int before = errno;
    struct head head = {kind, strlen(name), offset, length};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.path_length}, {(void *)data, length}};
    REAL(writev);
    if (real(log_fd, parts, 3) != (ssize_t)(sizeof head + head.path_length + length)) abort();
    errno = before;
}

static int opened(int fd, int flags, int existed, const char *name) {
    if (fd >= 0 && name && (!existed || flags & O_TRUNC)) record(CREATE, name, 0, NULL, 0);
    return fd;
}

#define OPEN(function, at, declared, passed) \
    int function declared { \
        char buffer[PATH_MAX]; \
        struct stat found; \
        mode_t mode = 0; \
        if (flags & O_CREAT) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        const char *name = flags & (O_CREAT | O_TRUNC) ? name_of_path(at, path, buffer) : NULL; \
        int existed = name && fstatat(at, path, &found, 0) == 0; \
        REAL(function); \
        return opened(real passed, flags, existed, name); \
    }

OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

static void record_write(int fd, const void *data, ssize_t length, int64_t offset) {
    char buffer[PATH_MAX];
    const char *name = length > 0 ? name_of_fd(fd, buffer) : NULL;
    if (name) record(WRITE, name, offset, data, length);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    ssize_t done = real(fd, data, size);
    if (done > 0 && log_fd >= 0 && fd != log_fd) record_write(fd, data, done, lseek(fd, 0, SEEK_CUR) - done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    ssize_t done = real(fd, data, size, offset);
    record_write(fd, data, done, offset);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    ssize_t done = real(fd, data, size, offset);
    record_write(fd, data, done, offset);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    ssize_t done = real(fd, parts, count), left = done;
    if (done <= 0 || log_fd < 0 || fd == log_fd) return done;
    int64_t at = lseek(fd, 0, SEEK_CUR) - done;
    for (int i = 0; i < count && left > 0; i++) {
        ssize_t length = (ssize_t)parts[i].iov_len < left ? (ssize_t)parts[i].iov_len : left;
        record_write(fd, parts[i].iov_base, length, at);
        at += length;
        left -= length;
    }
    return done;
}

#define TRUNCATES(function, type) \
    int function(int fd, type size) { \
        char buffer[PATH_MAX]; \
        REAL(function); \
        int failed = real(fd, size); \
        if (!failed) record(TRUNCATE, name_of_fd(fd, buffer), size, NULL, 0); \
        return failed; \
    }

TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define SYNCS(function) \
    int function(int fd) { \
        char buffer[PATH_MAX]; \
        const char *name = name_of_fd(fd, buffer); \
        int64_t mark = (int64_t)pthread_self(); /* two syncs of one file may overlap */ \
        record(SYNC_BEGINS, name, mark, NULL, 0); \
        REAL(function); \
        int failed = real(fd); \
        if (!failed) record(SYNC_ENDS, name, mark, NULL, 0); \
        return failed; \
    }

SYNCS(fsync)
SYNCS(fdatasync)

static int record_rename(int failed, const char *from, const char *to) {
    if (!failed && to) record(RENAME, from, 0, to, strlen(to));
    return failed;
}

int rename(const char *from, const char *to) {
    char one[PATH_MAX], other[PATH_MAX];
    const char *before = name_of_path(AT_FDCWD, from, one), *after = name_of_path(AT_FDCWD, to, other);
    REAL(rename);
    return record_rename(real(from, to), before, after);
}

int renameat(int at, const char *from, int to_at, const char *to) {
    char one[PATH_MAX], other[PATH_MAX];
    const char *before = name_of_path(at, from, one), *after = name_of_path(to_at, to, other);
    REAL(renameat);
    return record_rename(real(at, from, to_at, to), before, after);
}

int unlink(const char *path) {
    char buffer[PATH_MAX];
    const char *name = name_of_path(AT_FDCWD, path, buffer);
    REAL(unlink);
    int failed = real(path);
    if (!failed) record(UNLINK, name, 0, NULL, 0);
    return failed;
}

int unlinkat(int at, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *name = name_of_path(at, path, buffer);
    REAL(unlinkat);
    int failed = real(at, path, flags);
    if (!failed) record(UNLINK, name, 0, NULL, 0);
    return failed;
}
