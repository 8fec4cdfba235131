/* The machine's limit: a server that does nothing but one send() for each reader and publication.
 *
 *   csend PORT [joined]
 *
 * It upgrades whoever comes, and sends what one client says, as it is, to all the others. Joined: what was said
 * within a turn goes out in one send() a reader, which shows how much the load generator can take.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 65536, MOST = 65536 };

static const char hello[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
static int poller, readers[MOST], count;
static char upgraded[MOST];
static int is_joined;
static char waiting[BUFFER];
static size_t waits;

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void gone(int fd) {
    for (int at = 0; at < count; at++)
        if (readers[at] == fd) readers[at--] = readers[--count];
    close(fd);
}

/* One frame of less than 64 KiB, without its mask, to all others. The mask of our clients is zero. */
static size_t pass_on(int from, const unsigned char *data, size_t left) {
    static char out[BUFFER];
    if (left < 8) return 0;
    size_t size = data[1] & 127, head = 2;
    if (size == 126) size = (size_t)data[2] << 8 | data[3], head = 4;
    if (left < head + 4 + size) return 0;
    if ((data[0] & 15) == 1) {
        memcpy(out, data, head);
        out[1] &= 127;
        memcpy(out + head, data + head + 4, size);
        if (is_joined && waits + head + size <= sizeof waiting) {
            memcpy(waiting + waits, out, head + size);
            waits += head + size;
            return head + 4 + size;
        }
        for (int at = 0; at < count; at++)
            if (readers[at] != from) send(readers[at], out, head + size, MSG_NOSIGNAL);
    }
    return head + 4 + size;
}

static void heard(int fd) {
    static unsigned char data[BUFFER];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) gone(fd);
        return;
    }
    if (!upgraded[fd]) {
        upgraded[fd] = 1;
        readers[count++] = fd;
        send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL);
        return;
    }
    for (size_t used = 0, step; used < (size_t)got && (step = pass_on(fd, data + used, (size_t)got - used));) used += step;
}

/* The publishers, who come last, hear it too: they do not count. */
static void send_joined(void) {
    for (int at = 0; waits && at < count; at++) send(readers[at], waiting, waits, MSG_NOSIGNAL);
    waits = 0;
}

int main(int words, char **word) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct epoll_event events[EVENTS];
    int one = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (words < 2) return 2;
    is_joined = words > 2 && !strcmp(word[2], "joined");
    at.sin_port = htons((unsigned short)atoi(word[1]));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 4096)) return 1;
    poller = epoll_create1(0);
    watch(listening);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int n = 0; n < ready; n++) {
            int fd = events[n].data.fd;
            if (fd != listening) {
                heard(fd);
                continue;
            }
            while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MOST) return 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                upgraded[fd] = 0;
                watch(fd);
            }
        }
        send_joined();
    }
}
