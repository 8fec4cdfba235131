/* Many WebSocket clients in one thread: opens them, counts what comes, and measures how long it took.
 *
 *   wsload KIND PORT COUNT PUBLISHER-PORT PUBLISHERS TOKENS
 *
 * KIND is keepseat, socketio, socketio-session, plain or raw; TOKENS a file with a token a line, those of the
 * publishers after those of the readers. Commands come on stdin, a line each; each is answered with a line
 * of JSON on stdout. Whatever was published is counted by number and reader: `lost` is what has not come when
 * patience is over, `twice` what came more than once.
 *
 *   open IN-FLIGHT COUNT   open readers until there are so many, so many at a time, who is turned away again;
 *                       p50 and p99 of how long it took, from connect() of the try that succeeded
 *   publishers          open the publishers
 *   fan BURST SECONDS   publish BURST at once, the next BURST when all have come everywhere
 *   rate PER-SECOND SECONDS   publish at this rate, whatever comes
 *   watch               all readers come to the seats of the event
 *   hold PER-SECOND SECONDS   each reader holds four seats of its own one by one, gives them back, and again; 0
 *                       a second: as soon as the answer is there. p50 and p99 of a hold, `came` is how many
 *                       there were, `failed` what was refused
 *   idle SECONDS        only answer pings
 *   shrink COUNT        reset all readers but so many
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 1 << 20, MOST_SAMPLES = 1 << 24, TOKEN = 1024, PATIENCE = 180, PAYLOAD = 160 };
enum { SEATS = 4, SECTIONS = 5, STRAY_MS = 100 };
static const uint64_t LATEST = 60000000000u; /* how long to wait for what is still to come */
enum state { CLOSED, CONNECTING, UPGRADING, GREETING, READY, FAILED };

struct client {
    int fd, number, is_publisher, was_here;
    int step, asks; /* how many seats it holds, while it holds seats; whether an answer is still to come */
    uint64_t asked;
    enum state state;
    uint64_t began;
    char *rest; /* of a frame that has not come whole */
    size_t held;
};

static int poller, readers, publishers, in_flight, opened, failed;
static int reader_port, publisher_port;
static const char *kind;
static char (*tokens)[TOKEN];
static struct client *clients;
static uint64_t came, pings, expected, twice, number, first_number;
static unsigned char *seen; /* a bit for each publication and reader since the command began */
static size_t seen_size;
static int holding;
static uint32_t *samples; /* microseconds */
static size_t sampled;
static char padding[PAYLOAD + 1];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void sample(uint64_t since, uint64_t at) {
    if (sampled < MOST_SAMPLES) samples[sampled++] = (uint32_t)((at - since) / 1000);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Milliseconds that so many of a hundred do not exceed; samples must be sorted. */
static double percentile(double share) {
    if (!sampled) return 0;
    size_t at = (size_t)((double)sampled * share / 100);
    return samples[at < sampled ? at : sampled - 1] / 1000.0;
}

static void answer(uint64_t began, uint64_t ended) {
    qsort(samples, sampled, sizeof *samples, ascending);
    printf("{\"opened\":%d,\"failed\":%d,\"seconds\":%.6f,\"came\":%llu,\"lost\":%llu,\"twice\":%llu,\"pings\":%llu,"
           "\"p50\":%.3f,\"p99\":%.3f}\n",
           opened, failed, (double)(ended - began) / 1e9, (unsigned long long)came,
           (unsigned long long)(expected > came ? expected - came : 0), (unsigned long long)twice,
           (unsigned long long)pings, percentile(50), percentile(99));
    fflush(stdout);
}

/* --- one client --- */

static void end(struct client *c, enum state state) {
    if (c->state == READY) opened -= 1;
    if (c->state == CONNECTING || c->state == UPGRADING || c->state == GREETING) in_flight -= 1;
    if (state == FAILED) failed += 1;
    struct linger reset = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->held = 0;
    c->state = state;
}

static void say(struct client *c, const char *bytes, size_t length) {
    if (send(c->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) end(c, FAILED);
}

/* A masked frame; the mask is zero, which is a mask too. */
static void frame(struct client *c, int opcode, const char *text) {
    char out[TOKEN + 512];
    size_t length = strlen(text), at = 0;
    out[at++] = (char)(0x80 | opcode);
    if (length < 126) {
        out[at++] = (char)(0x80 | length);
    } else {
        out[at++] = (char)(0x80 | 126);
        out[at++] = (char)(length >> 8);
        out[at++] = (char)length;
    }
    memset(out + at, 0, 4);
    memcpy(out + at + 4, text, length);
    say(c, out, at + 4 + length);
}

static void begin(struct client *c, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->began = now();
    in_flight += 1;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) end(c, FAILED);
}

static void upgrade(struct client *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    char path[TOKEN + 64] = "/", out[TOKEN + 512];
    if (!strcmp(kind, "keepseat") || !strcmp(kind, "plain"))
        snprintf(path, sizeof path, "/ws?token=%s", tokens[c->number]);
    if (!strncmp(kind, "socketio", 8)) strcpy(path, "/socket.io/?EIO=4&transport=websocket");
    int length = snprintf(out, sizeof out,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          path);
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->state = UPGRADING;
    say(c, out, (size_t)length);
}

static void ready(struct client *c) {
    c->state = READY;
    c->was_here = 1;
    in_flight -= 1;
    opened += 1;
    sample(c->began, now());
}

static int has(const char *text, size_t length, const char *word) {
    return memmem(text, length, word, strlen(word)) != NULL;
}

/* What a client says and waits for until it is in the room. */
static void greet(struct client *c, const char *text, size_t length) {
    char out[TOKEN + 64];
    if (!strcmp(kind, "keepseat")) {
        if (has(text, length, "\"type\":\"session-restored\"") || has(text, length, "\"type\":\"event-joined\""))
            ready(c);
        else if (has(text, length, "\"type\":\"error\""))
            end(c, FAILED);
        return;
    }
    if (!strcmp(kind, "plain")) {
        if (has(text, length, "\"type\":\"ready\"")) ready(c);
        return;
    }
    if (length > 1 && text[0] == '0') {
        snprintf(out, sizeof out, "40{\"token\":\"%s\"}", tokens[c->number]);
        frame(c, 1, out);
    } else if (length > 1 && text[0] == '4' && text[1] == '4') {
        end(c, FAILED);
    } else if (has(text, length, "42[\"session-restored\"") ||
               (!strcmp(kind, "socketio") && length > 1 && text[0] == '4' && text[1] == '0')) {
        ready(c);
    }
}

/* A publication has come to a reader: which one, and has it before? */
static void count(struct client *c, const char *text, size_t length, uint64_t at) {
    const char *stamp = memmem(text, length, "\"stamp\":", 8), *end = text + length;
    const char *named = stamp ? memmem(stamp, (size_t)(end - stamp), "\"number\":", 9) : NULL;
    if (!named) return;
    uint64_t which = strtoull(named + 9, NULL, 10);
    size_t bit = (size_t)(which - first_number) * (size_t)readers + (size_t)c->number;
    if (which < first_number || which >= number || seen[bit / 8] & 1 << bit % 8) {
        twice += 1;
        return;
    }
    seen[bit / 8] |= (unsigned char)(1 << bit % 8);
    came += 1;
    sample(strtoull(stamp + 8, NULL, 10), at);
}

/* --- seats --- */

static void ask_for_seats(struct client *c) {
    char out[TOKEN];
    int row = c->number / SECTIONS + 1, section = c->number % SECTIONS;
    c->asked = now();
    c->asks = 1;
    in_flight += 1;
    if (c->step == SEATS)
        snprintf(out, sizeof out, "{\"type\":\"release-seats\",\"eventId\":\"bench\",\"id\":1}");
    else
        snprintf(out, sizeof out, "{\"type\":\"hold-seats\",\"eventId\":\"bench\",\"id\":1,\"seats\":[\"S%d-%d-%d\"]}",
                 section, row, c->step + 1);
    frame(c, 1, out);
}

/* The answer to what was asked last, if it is one; what others do and how one's own hold runs is not. */
static void hear_of_seats(struct client *c, const char *text, size_t length, uint64_t at) {
    if (!has(text, length, "\"id\":1")) return;
    if (has(text, length, "\"type\":\"error\"")) {
        failed += 1;
    } else if (c->step < SEATS) {
        came += 1;
        sample(c->asked, at);
    }
    c->step = c->step == SEATS ? 0 : c->step + 1;
    c->asks = 0;
    in_flight -= 1;
    if (holding) ask_for_seats(c);
}

static void take(struct client *c, int opcode, const char *text, size_t length, uint64_t at) {
    if (opcode == 9) {
        pings += 1;
        frame(c, 10, "");
    } else if (opcode == 8) {
        end(c, FAILED);
    } else if (length == 1 && text[0] == '2') { /* the ping of engine.io */
        pings += 1;
        frame(c, 1, "3");
    } else if (c->state == GREETING) {
        /* the first time it has no session yet; later ones are restored into the room */
        if (!c->was_here && has(text, length, "\"type\":\"connected\""))
            frame(c, 1, "{\"type\":\"join-event\",\"eventId\":\"bench\"}");
        greet(c, text, length);
    } else if (c->asked) {
        hear_of_seats(c, text, length, at);
    } else if (!c->is_publisher) {
        count(c, text, length, at);
    }
}

/* Take whole frames; how many bytes they were. */
static size_t parse(struct client *c, const char *data, size_t length, uint64_t at) {
    size_t used = 0;
    if (c->state == UPGRADING) {
        const char *over = memmem(data, length, "\r\n\r\n", 4);
        if (!over) return 0;
        if (!has(data, length, " 101 ")) {
            end(c, FAILED);
            return length;
        }
        used = (size_t)(over + 4 - data);
        c->state = GREETING;
        if (!strcmp(kind, "raw")) ready(c);
    }
    while (c->state == GREETING || c->state == READY) {
        const unsigned char *head = (const unsigned char *)data + used;
        size_t left = length - used, size, skip = 2;
        if (left < 2) break;
        size = head[1] & 127;
        if (size == 126) {
            if (left < 4) break;
            size = (size_t)head[2] << 8 | head[3];
            skip = 4;
        } else if (size == 127) {
            if (left < 10) break;
            size = (size_t)head[6] << 24 | (size_t)head[7] << 16 | (size_t)head[8] << 8 | head[9];
            skip = 10;
        }
        if (left < skip + size) break;
        take(c, head[0] & 15, data + used + skip, size, at);
        used += skip + size;
    }
    return used;
}

static void heard(struct client *c) {
    static char buffer[BUFFER];
    memcpy(buffer, c->rest, c->held);
    ssize_t got = recv(c->fd, buffer + c->held, sizeof buffer - c->held, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        end(c, FAILED);
        return;
    }
    size_t length = c->held + (size_t)got, used = parse(c, buffer, length, now());
    if (c->state == CLOSED || c->state == FAILED) return;
    c->held = length - used;
    c->rest = c->held ? realloc(c->rest, c->held) : (free(c->rest), NULL);
    if (c->held) memcpy(c->rest, buffer + used, c->held);
}

/* --- all of them --- */

/* Do what is due, waiting at most so long; 1 where a command has come. */
static int pump(int milliseconds) {
    static struct epoll_event events[EVENTS];
    int asked = 0, count = epoll_wait(poller, events, EVENTS, milliseconds);
    for (int at = 0; at < count; at++) {
        struct client *c = events[at].data.ptr;
        if (!c)
            asked = 1;
        else if (c->state == CONNECTING && events[at].events & (EPOLLERR | EPOLLHUP))
            end(c, FAILED);
        else if (c->state == CONNECTING)
            upgrade(c);
        else if (c->state != CLOSED && c->state != FAILED)
            heard(c);
    }
    return asked;
}

static int open_readers(void) {
    int count = 0;
    for (int at = 0; at < readers; at++) count += clients[at].state == READY;
    return count;
}

static void forget(void) {
    sampled = 0;
    came = pings = expected = twice = 0;
    failed = 0;
    first_number = number;
    if (seen) memset(seen, 0, seen_size);
}

/* Who has been told twice has perhaps not heard it yet. */
static void listen_on(void) {
    for (uint64_t until = now() + STRAY_MS * 1000000u; now() < until;) pump(10);
}

static void open_some(int from, int to, int port, int most) {
    uint64_t began = now(), until = began + (uint64_t)PATIENCE * 1000000000u;
    int target = opened + to - from;
    if (to > readers + publishers) exit(2);
    forget();
    for (int next = from; opened < target && now() < until;) {
        while (next < to && in_flight < most) begin(&clients[next++], port);
        for (int at = from; at < next && in_flight < most; at++)
            if (clients[at].state == FAILED) begin(&clients[at], port);
        pump(100);
    }
    answer(began, now());
}

static void publish(struct client *c) {
    char out[PAYLOAD + 256];
    size_t wanted = (size_t)(number + 1 - first_number) * (size_t)readers / 8 + 1;
    if (wanted > seen_size) {
        seen = realloc(seen, wanted * 2);
        if (!seen) die("realloc");
        memset(seen + seen_size, 0, wanted * 2 - seen_size);
        seen_size = wanted * 2;
    }
    expected += (uint64_t)open_readers();
    const char *left = "", *right = "";
    if (!strcmp(kind, "keepseat")) left = "{\"type\":\"publish\",\"room\":\"event:bench\",\"data\":", right = "}";
    if (!strncmp(kind, "socketio", 8)) left = "42[\"publish\",", right = "]";
    snprintf(out, sizeof out, "%s{\"stamp\":%llu,\"number\":%llu,\"text\":\"%s\"}%s", left,
             (unsigned long long)now(), (unsigned long long)number++, padding, right);
    frame(c, 1, out);
}

static void fan(int burst, double seconds) {
    uint64_t began = now(), until = began + (uint64_t)(seconds * 1e9), over = until + LATEST, last = began;
    forget();
    while (last < until && came == expected) {
        for (int at = 0; at < burst; at++) publish(&clients[readers + at % publishers]);
        while (came < expected && now() < over) pump(100);
        last = now();
    }
    listen_on();
    answer(began, last);
}

static void rate(double per_second, double seconds) {
    uint64_t began = now(), next = began, until = began + (uint64_t)(seconds * 1e9);
    uint64_t gap = (uint64_t)(1e9 / per_second), over = until + LATEST;
    forget();
    for (int at = 0; next < until; at++, next += gap) {
        for (uint64_t t; (t = now()) < next;) pump((int)((next - t) / 1000000u));
        publish(&clients[readers + at % publishers]);
    }
    while (came < expected && now() < over) pump(100);
    uint64_t ended = now();
    listen_on();
    answer(began, ended);
}

static void watch(void) {
    uint64_t began = now(), over = began + LATEST;
    forget();
    for (int at = 0; at < readers; at++) {
        struct client *c = &clients[at];
        if (c->state != READY) continue;
        c->step = -1; /* its answer brings it to the first seat */
        c->asked = now();
        in_flight += 1;
        frame(c, 1, "{\"type\":\"join-seats\",\"eventId\":\"bench\",\"id\":1}");
    }
    while (in_flight && now() < over) pump(100);
    sampled = 0;
    answer(began, now());
}

/* Ask at this rate until then, one client after the other, but none that still waits for an answer. */
static void hold_at(double per_second, uint64_t until) {
    uint64_t gap = (uint64_t)(1e9 / per_second), next = now();
    for (int at = 0; next < until; next += gap) {
        for (uint64_t t; (t = now()) < next;) pump((int)((next - t) / 1000000u));
        for (int tries = 0; tries < readers; tries++) {
            struct client *c = &clients[at++ % readers];
            if (c->state != READY || c->asks) continue;
            ask_for_seats(c);
            break;
        }
    }
}

static void hold(double per_second, double seconds) {
    uint64_t began = now(), until = began + (uint64_t)(seconds * 1e9), over = until + LATEST;
    forget();
    if (per_second > 0) {
        hold_at(per_second, until);
    } else {
        holding = 1;
        for (int at = 0; at < readers; at++)
            if (clients[at].state == READY) ask_for_seats(&clients[at]);
        while (now() < until) pump(100);
        holding = 0;
    }
    while (in_flight && now() < over) pump(100);
    answer(began, now());
}

static void idle(double seconds) {
    uint64_t began = now(), until = began + (uint64_t)(seconds * 1e9);
    forget();
    while (now() < until) pump(100);
    answer(began, now());
}

static void shrink(int left) {
    uint64_t began = now();
    for (int at = left; at < readers; at++)
        if (clients[at].state == READY) end(&clients[at], CLOSED);
    answer(began, now());
}

static void obey(const char *line) {
    double a = 0, b = 0;
    char word[32];
    sscanf(line, "%31s %lf %lf", word, &a, &b);
    if (!strcmp(word, "open")) open_some(open_readers(), (int)b, reader_port, (int)a);
    else if (!strcmp(word, "publishers")) open_some(readers, readers + publishers, publisher_port, 1);
    else if (!strcmp(word, "fan")) fan((int)a, b);
    else if (!strcmp(word, "rate")) rate(a, b);
    else if (!strcmp(word, "watch")) watch();
    else if (!strcmp(word, "hold")) hold(a, b);
    else if (!strcmp(word, "idle")) idle(a);
    else if (!strcmp(word, "shrink")) shrink((int)a);
    else exit(2);
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    for (int at = 0; at < readers + publishers && fgets(tokens[at], TOKEN, file); at++)
        tokens[at][strcspn(tokens[at], "\n")] = 0;
    fclose(file);
}

int main(int count, char **words) {
    char line[256];
    if (count != 7) return 2;
    kind = words[1];
    reader_port = atoi(words[2]);
    readers = atoi(words[3]);
    publisher_port = atoi(words[4]);
    publishers = atoi(words[5]);
    clients = calloc((size_t)(readers + publishers), sizeof *clients);
    tokens = calloc((size_t)(readers + publishers), TOKEN);
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    if (!clients || !tokens || !samples) die("malloc");
    read_tokens(words[6]);
    memset(padding, 'x', PAYLOAD);
    for (int at = 0; at < readers + publishers; at++) {
        clients[at].number = at;
        clients[at].is_publisher = at >= readers;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;)
        if (pump(1000)) {
            if (!fgets(line, sizeof line, stdin)) return 0;
            obey(line);
        }
}
