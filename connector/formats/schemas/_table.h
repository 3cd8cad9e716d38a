/*
 * A line of X as a flat table of its values, in the order in which they stand there.
 *
 * An object is followed by name, value, name, value; a list by its items.  Functions that may fail return 0 for a line
 * that X would not write: a name with an escape, a member twice, more than DEPTH_MAX levels or VALUES_MAX values, or no
 * JSON; and if there is no memory.
 */

#ifndef MURMURATION_TABLE_H
#define MURMURATION_TABLE_H

#include <stdlib.h>

#include "../../records/_json.h"

#define DEPTH_MAX 64
#define VALUES_MAX (512 * 1024) /* 8 MB; of a post there are some hundred */

typedef enum { AN_OBJECT, AN_ARRAY, A_STRING, A_NUMBER, A_WORD, A_NULL } Kind;

/* A value: its bytes (of a string without the quotes) and, of objects and arrays, the number of the value after it. */
typedef struct {
    uint32_t start, end, next;
    uint8_t kind, escaped;
} Value;

typedef struct {
    Slice line;
    Value *values;
    uint32_t count, room;
    int no_memory;
} Table;

/* The number of a value that is not there: value 0 is the line itself, which is no member. */
#define NOTHING 0

#define TRY(done)                                                                                                      \
    do {                                                                                                               \
        if (!(done))                                                                                                   \
            return 0;                                                                                                  \
    } while (0)

static inline int
same(Slice one, Slice other)
{
    return one.size == other.size && !memcmp(one.bytes, other.bytes, (size_t)one.size);
}

static inline Value *
add(Table *table, Kind kind, const uint8_t *start)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * (size_t)table->room : 512;
        if (room > VALUES_MAX)
            return NULL;
        Value *larger = realloc(table->values, room * sizeof *larger);
        if (!larger) {
            table->no_memory = 1;
            return NULL;
        }
        table->values = larger;
        table->room = (uint32_t)room;
    }
    Value *value = &table->values[table->count++];
    value->start = (uint32_t)(start - table->line.bytes);
    value->next = table->count;
    value->kind = (uint8_t)kind;
    value->escaped = 0;
    return value;
}

/* Reads a string whose quote is at *p*; returns the position after it, or NULL. */
static inline const uint8_t *
add_string(Table *table, const uint8_t *p, const uint8_t *end)
{
    Value *value = add(table, A_STRING, p + 1);
    int escaped = 0;
    if (!value || !(p = skip_string(p + 1, end, &escaped)))
        return NULL;
    value->end = (uint32_t)(p - 1 - table->line.bytes);
    value->escaped = (uint8_t)escaped;
    return p;
}

/* Reads the line into the table. */
static inline int
read_line(Table *table)
{
    const uint8_t *p = table->line.bytes, *end = p + table->line.size;
    uint32_t open[DEPTH_MAX];
    int depth = 0;

    table->count = 0;
value:
    p = skip_spaces(p, end);
    if (p >= end)
        return 0;
    switch (*p) {
    case '{':
    case '[':
        if (depth == DEPTH_MAX || !add(table, *p == '{' ? AN_OBJECT : AN_ARRAY, p))
            return 0;
        open[depth++] = table->count - 1;
        p = skip_spaces(p + 1, end);
        if (p < end && *p == (table->values[open[depth - 1]].kind == AN_OBJECT ? '}' : ']'))
            goto close;
        if (table->values[open[depth - 1]].kind == AN_OBJECT)
            goto name;
        goto value;
    case '"': TRY(p = add_string(table, p, end)); break;
    default: {
        const uint8_t *start = p;
        TRY(p = skip_plain(p, end));
        Value *value = add(table, *start == 'n' ? A_NULL : *start == 't' || *start == 'f' ? A_WORD : A_NUMBER, start);
        TRY(value);
        value->end = (uint32_t)(p - table->line.bytes);
    }
    }
after:
    p = skip_spaces(p, end);
    if (!depth)
        return p == end;
    if (p >= end)
        return 0;
    Kind around = table->values[open[depth - 1]].kind;
    if (*p == ',') {
        p = skip_spaces(p + 1, end);
        if (around == AN_ARRAY)
            goto value;
        goto name;
    }
    if (*p != (around == AN_OBJECT ? '}' : ']'))
        return 0;
close:
    p++;
    depth--;
    table->values[open[depth]].end = (uint32_t)(p - table->line.bytes);
    table->values[open[depth]].next = table->count;
    goto after;
name:
    if (p >= end || *p != '"')
        return 0;
    TRY(p = add_string(table, p, end));
    p = skip_spaces(p, end);
    if (p >= end || *p != ':')
        return 0;
    p++;
    goto value;
}

static inline Slice
bytes_of(const Table *table, uint32_t at)
{
    const Value *value = &table->values[at];
    return (Slice){table->line.bytes + value->start, (Py_ssize_t)(value->end - value->start)};
}

static inline int
is(const Table *table, uint32_t at, Kind kind)
{
    return table->values[at].kind == kind;
}

/* Finds the member *wanted* of the object *at*. */
static inline int
find_in(const Table *table, uint32_t at, Slice wanted, uint32_t *found)
{
    *found = NOTHING;
    TRY(is(table, at, AN_OBJECT));
    uint32_t end = table->values[at].next;
    for (uint32_t name = at + 1; name < end; name = table->values[name + 1].next) {
        TRY(!table->values[name].escaped);
        if (same(bytes_of(table, name), wanted)) {
            TRY(*found == NOTHING);
            *found = name + 1;
        }
    }
    return 1;
}

/* Finds the member *wanted* of a member of another object: of NOTHING and of null there is none. */
static inline int
find_member(const Table *table, uint32_t at, Slice wanted, uint32_t *found)
{
    if (at != NOTHING && !is(table, at, A_NULL))
        return find_in(table, at, wanted, found);
    *found = NOTHING;
    return 1;
}

#endif
