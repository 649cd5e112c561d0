/* A Modbus server and a client on libmodbus, an implementation apart from ours and from pymodbus.
 *
 *   libmodbus_peer server tcp PORT          libmodbus_peer server rtu DEVICE UNIT
 *   libmodbus_peer client tcp PORT          libmodbus_peer client rtu DEVICE UNIT
 *   libmodbus_peer bench PORT REQUESTS COUNT
 *
 * The server says "ready" and serves until it is killed: 200 bits or registers in each table, bit a being (a % 3 == 0)
 * and register a being (a * 7919 + 13) % 65536 when it starts. The client reads 20 of each table from address 10 and
 * prints them, writes by functions 5, 6, 15 and 16 from address 40 on, and prints what it then reads there. The bench
 * reads COUNT holding registers REQUESTS times and prints its CPU seconds.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE 200

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static modbus_t *context(char **argv) {
    modbus_t *ctx = strcmp(argv[2], "tcp") == 0 ? modbus_new_tcp("127.0.0.1", atoi(argv[3]))
                                                 : modbus_new_rtu(argv[3], 19200, 'E', 8, 1);
    if (ctx == NULL) fail("context");
    if (strcmp(argv[2], "rtu") == 0) modbus_set_slave(ctx, atoi(argv[4]));
    modbus_set_response_timeout(ctx, 5, 0);
    return ctx;
}

static void serve(char **argv) {
    int tcp = strcmp(argv[2], "tcp") == 0, listener = -1, size;
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *ctx = context(argv);
    modbus_mapping_t *map = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    if (map == NULL) fail("mapping");
    for (int a = 0; a < SIZE; a++) {
        map->tab_bits[a] = map->tab_input_bits[a] = a % 3 == 0;
        map->tab_registers[a] = map->tab_input_registers[a] = (uint16_t) (a * 7919 + 13);
    }
    if (tcp) listener = modbus_tcp_listen(ctx, 8);
    if (tcp && listener < 0) fail("listen");
    if (!tcp && modbus_connect(ctx) < 0) fail("open");
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        if (tcp && modbus_tcp_accept(ctx, &listener) < 0) fail("accept");
        while ((size = modbus_receive(ctx, query)) != -1 || !tcp)
            if (size > 0) modbus_reply(ctx, query, size, map);
        modbus_close(ctx);
    }
}

static void print_bits(const char *name, const uint8_t *bits, int n) {
    printf("%s", name);
    for (int i = 0; i < n; i++) printf(" %d", bits[i]);
    printf("\n");
}

static void print_words(const char *name, const uint16_t *words, int n) {
    printf("%s", name);
    for (int i = 0; i < n; i++) printf(" %d", words[i]);
    printf("\n");
}

static void ask(char **argv) {
    uint8_t bits[20], many_bits[10] = {1, 0, 1, 1, 0, 0, 1, 1, 1, 0};
    uint16_t words[20], many_words[3] = {1, 2, 65535};
    modbus_t *ctx = context(argv);
    if (modbus_connect(ctx) < 0) fail("connect");
    if (modbus_read_bits(ctx, 10, 20, bits) != 20) fail("coil");
    print_bits("coil", bits, 20);
    if (modbus_read_input_bits(ctx, 10, 20, bits) != 20) fail("discrete");
    print_bits("discrete", bits, 20);
    if (modbus_read_registers(ctx, 10, 20, words) != 20) fail("holding");
    print_words("holding", words, 20);
    if (modbus_read_input_registers(ctx, 10, 20, words) != 20) fail("input");
    print_words("input", words, 20);
    if (modbus_write_bit(ctx, 40, 1) != 1) fail("write coil");
    if (modbus_write_bits(ctx, 41, 10, many_bits) != 10) fail("write coils");
    if (modbus_write_register(ctx, 40, 4711) != 1) fail("write register");
    if (modbus_write_registers(ctx, 41, 3, many_words) != 3) fail("write registers");
    if (modbus_read_bits(ctx, 40, 11, bits) != 11) fail("coil again");
    print_bits("coil", bits, 11);
    if (modbus_read_registers(ctx, 40, 4, words) != 4) fail("holding again");
    print_words("holding", words, 4);
}

static void bench(char **argv) {
    uint16_t words[MODBUS_MAX_READ_REGISTERS];
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[2]));
    int requests = atoi(argv[3]), count = atoi(argv[4]);
    struct timespec begun, ended;
    if (ctx == NULL || modbus_connect(ctx) < 0) fail("connect");
    clock_t start = clock();
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = 0; i < requests; i++)
        if (modbus_read_registers(ctx, 0, count, words) != count) fail("read");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f %.6f\n", (double) (clock() - start) / CLOCKS_PER_SEC,
           ended.tv_sec - begun.tv_sec + (ended.tv_nsec - begun.tv_nsec) / 1e9);
}

int main(int argc, char **argv) {
    if (argc > 3 && strcmp(argv[1], "server") == 0) serve(argv);
    else if (argc > 3 && strcmp(argv[1], "client") == 0) ask(argv);
    else if (argc > 4 && strcmp(argv[1], "bench") == 0) bench(argv);
    else return 2;
    return 0;
}
