/*
 * Writes the post in a line of X in Avro's binary form, with nothing built in between.
 *
 * What is written where is said by steps.  `connector.formats.post.avro_steps` makes them of the declaration of `Post`,
 * and says what each does.  Here is how: the line is read into a table of its values, and the steps take from it what
 * they write, in the order of the schema.
 *
 * It decides nothing.  For a line that X would not write (a member of another type, or twice; an escape in a name; half
 * of a surrogate pair; a time in another form) it returns None, and the form in Python does it: `post_of` and
 * `avro_encoder`.  The tests compare both.  Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
 */

#include "_steps.h"

#include <math.h>

/* -- what is written of a line */

typedef struct {
    const Program *program;
    Table table;
    uint8_t *out;
    size_t size, room;
    Py_ssize_t lookups;
    uint32_t sources[SOURCES_MAX], rules;
} Work;

/* Finds the members of the object *at* that *record* names; *found* has one for each slot, or NOTHING. */
static int
find_members(const Work *work, const Record *record, uint32_t at, uint32_t *found)
{
    TRY(is(&work->table, at, AN_OBJECT));
    memset(found, 0, (size_t)record->members * sizeof *found);
    uint32_t end = work->table.values[at].next;
    for (uint32_t name = at + 1; name < end; name = work->table.values[name + 1].next) {
        TRY(!work->table.values[name].escaped);
        int slot = slot_of(record, bytes_of(&work->table, name));
        if (slot >= 0) {
            TRY(found[slot] == NOTHING);
            found[slot] = name + 1;
        }
    }
    return 1;
}

/* Finds the value of *step* among the members *found* of its object: NOTHING also for null. */
static int
find_value(const Work *work, const Step *step, const uint32_t *found, uint32_t *value)
{
    *value = found[step->slot];
    for (int i = 0; i < step->names; i++)
        TRY(find_member(&work->table, *value, step->path[i], value));
    if (*value != NOTHING && is(&work->table, *value, A_NULL)) {
        TRY(step->op != STRINGS && step->op != DOUBLES && step->op != RECORDS && step->op != JOINED_LIST);
        *value = NOTHING;
    }
    return 1;
}

/* Reads the id of a post: a number of 63 bits, as X writes it. */
static int
find_id(const Work *work, uint32_t at, uint64_t *id)
{
    TRY(at != NOTHING && is(&work->table, at, A_STRING));
    Slice digits = bytes_of(&work->table, at);
    TRY(digits.size && digits.size <= MAX_DIGITS && digits.bytes[0] != '0');
    TRY(skip_digits(digits.bytes, digits.bytes + digits.size) == digits.bytes + digits.size);
    *id = number_of(digits);
    return *id <= (uint64_t)INT64_MAX;
}

/* -- Avro */

/* Makes room for *more* bytes; returns where they go. */
static uint8_t *
reserve(Work *work, size_t more)
{
    if (work->room - work->size < more) {
        size_t room = 2 * (work->size + more);
        uint8_t *larger = realloc(work->out, room);
        if (!larger) {
            work->table.no_memory = 1;
            return NULL;
        }
        work->out = larger;
        work->room = room;
    }
    return work->out + work->size;
}

#define VARINT_MAX 10

static uint8_t *
put_varint(uint8_t *to, int64_t number)
{
    uint64_t rest = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
    for (; rest >> 7; rest >>= 7)
        *to++ = (uint8_t)(rest | 0x80);
    *to++ = (uint8_t)rest;
    return to;
}

static int
put_byte(Work *work, uint8_t byte)
{
    uint8_t *to = reserve(work, 1);
    TRY(to);
    *to = byte;
    work->size++;
    return 1;
}

static int
put_long(Work *work, int64_t number)
{
    uint8_t *to = reserve(work, VARINT_MAX);
    TRY(to);
    work->size = (size_t)(put_varint(to, number) - work->out);
    return 1;
}

static int
put_bytes(Work *work, Slice bytes)
{
    uint8_t *to = reserve(work, VARINT_MAX + (size_t)bytes.size);
    TRY(to);
    to = put_varint(to, bytes.size);
    memcpy(to, bytes.bytes, (size_t)bytes.size);
    work->size = (size_t)(to + bytes.size - work->out);
    return 1;
}

static unsigned
hex_of(const uint8_t *four)
{
    unsigned number = 0;
    for (int i = 0; i < 4; i++)
        number = number << 4 | (four[i] <= '9' ? four[i] - (unsigned)'0' : (four[i] | 0x20u) - 'a' + 10u);
    return number;
}

static uint8_t *
put_utf8(uint8_t *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    if (code < 0x800)
        *to++ = (uint8_t)(0xC0 | code >> 6);
    else {
        if (code < 0x10000)
            *to++ = (uint8_t)(0xE0 | code >> 12);
        else {
            *to++ = (uint8_t)(0xF0 | code >> 18);
            *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (uint8_t)(0x80 | (code & 0x3F));
    return to;
}

/* Writes the string *raw*, whose escapes are JSON's, at *to*, where there is room for it as it is; returns its end. */
static uint8_t *
unescape(uint8_t *to, Slice raw)
{
    const uint8_t *p = raw.bytes, *end = p + raw.size;
    while (p < end) {
        const uint8_t *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(to, p, plain);
        to += plain;
        if (!slash)
            break;
        p = slash + 2;
        switch (slash[1]) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            unsigned code = hex_of(slash + 2);
            p += 4;
            if (code >= 0xD800 && code < 0xE000) {
                if (code >= 0xDC00 || end - p < 6 || p[0] != '\\' || p[1] != 'u')
                    return NULL;
                unsigned low = hex_of(p + 2);
                if (low < 0xDC00 || low >= 0xE000)
                    return NULL;
                code = 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00));
                p += 6;
            }
            to = put_utf8(to, code);
            break;
        }
        default: *to++ = slash[1]; /* a quote, a slash or a backslash */
        }
    }
    return to;
}

static int
put_string(Work *work, uint32_t at)
{
    TRY(is(&work->table, at, A_STRING));
    Slice raw = bytes_of(&work->table, at);
    if (!work->table.values[at].escaped)
        return put_bytes(work, raw);
    uint8_t *to = reserve(work, VARINT_MAX + (size_t)raw.size);
    TRY(to);
    uint8_t *text = to + VARINT_MAX, *end = unescape(text, raw);
    TRY(end);
    to = put_varint(to, end - text);
    memmove(to, text, (size_t)(end - text));
    work->size = (size_t)(to + (end - text) - work->out);
    return 1;
}

static int
put_whole_number(Work *work, uint32_t at)
{
    TRY(is(&work->table, at, A_NUMBER));
    Slice digits = bytes_of(&work->table, at);
    int negative = digits.bytes[0] == '-';
    digits.bytes += negative;
    digits.size -= negative;
    TRY(digits.size <= MAX_DIGITS);
    TRY(skip_digits(digits.bytes, digits.bytes + digits.size) == digits.bytes + digits.size);
    uint64_t number = number_of(digits);
    TRY(number <= (uint64_t)INT64_MAX + (uint64_t)negative);
    return put_long(work, negative && number ? -(int64_t)(number - 1) - 1 : (int64_t)number);
}

static int
put_double(Work *work, uint32_t at)
{
    TRY(is(&work->table, at, A_NUMBER));
    Slice text = bytes_of(&work->table, at);
    char *end; /* a number is never the last of a line, so this reads no further than the line */
    double number = strtod((const char *)text.bytes, &end);
    /* in a locale with another decimal point it ends before that; and what -0 is depends on the reader */
    TRY((const uint8_t *)end == text.bytes + text.size && isfinite(number) && (number != 0 || text.bytes[0] != '-'));
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint8_t *to = reserve(work, sizeof bits);
    TRY(to);
    for (unsigned i = 0; i < sizeof bits; i++)
        to[i] = (uint8_t)(bits >> 8 * i);
    work->size += sizeof bits;
    return 1;
}

static int
put_boolean(Work *work, uint32_t at)
{
    TRY(is(&work->table, at, A_WORD));
    return put_byte(work, work->table.line.bytes[work->table.values[at].start] == 't');
}

/* Reads *count* digits at *p*; -1 if there are others. */
static int
digits_at(const uint8_t *p, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        number = number * 10 + (p[i] - '0');
    }
    return number;
}

/* Days since 1970-01-01 (Howard Hinnant, chrono-compatible low-level date algorithms: days_from_civil). */
static int64_t
days_of(int year, int month, int day)
{
    year -= month <= 2;
    int era = year / 400, of_era = year - era * 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Writes a time in X's two forms, 2026-11-01T12:34:56Z and 2026-11-01T12:34:56.789Z, in UNIX ms. */
static int
put_moment(Work *work, uint32_t at)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    TRY(is(&work->table, at, A_STRING));
    Slice text = bytes_of(&work->table, at);
    const uint8_t *p = text.bytes;
    TRY((text.size == 20 && p[19] == 'Z') || (text.size == 24 && p[19] == '.' && p[23] == 'Z'));
    TRY(p[4] == '-' && p[7] == '-' && p[10] == 'T' && p[13] == ':' && p[16] == ':');
    int year = digits_at(p, 4), month = digits_at(p + 5, 2), day = digits_at(p + 8, 2), hour = digits_at(p + 11, 2);
    int minute = digits_at(p + 14, 2), second = digits_at(p + 17, 2), ms = text.size == 24 ? digits_at(p + 20, 3) : 0;
    TRY(year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= month_days[month - 1] && ms >= 0);
    TRY(hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60);
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    TRY(month != 2 || day < 29 || leap);
    int64_t seconds = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    return put_long(work, seconds * 1000 + ms);
}

/* -- what the steps write */

/* How the id of a post holds its time: see `connector.records.snowflake`. */
#define EPOCH_MS 1288834974657
#define SEQUENCE_BITS 22

static int put_record(Work *work, const Record *record, const uint32_t *found, const uint32_t *original, int *some);

static uint32_t
items_of(const Work *work, uint32_t array)
{
    uint32_t items = 0;
    for (uint32_t at = array + 1; at < work->table.values[array].next; at = work->table.values[at].next)
        items++;
    return items;
}

/* The most bytes that are gone through, or written, for what a line mentions: as `connector.formats.post.resolving`. */
#define LOOKED_THROUGH_MAX (64 * 1024 * 1024)

/* Finds the object of *source* whose first member is *key*, and its members; *at* is NOTHING if there is none. */
static int
look_up(Work *work, int source, const Record *record, uint32_t key, uint32_t *at, uint32_t *found)
{
    TRY(is(&work->table, key, A_STRING) && !work->table.values[key].escaped);
    TRY(++work->lookups <= LOOKED_THROUGH_MAX / work->table.line.size);
    Slice wanted = bytes_of(&work->table, key);
    uint32_t array = work->sources[source];
    if (array != NOTHING) {
        for (*at = array + 1; *at < work->table.values[array].next; *at = work->table.values[*at].next) {
            TRY(find_members(work, record, *at, found));
            TRY(found[0] != NOTHING && is(&work->table, found[0], A_STRING) && !work->table.values[found[0]].escaped);
            if (same(bytes_of(&work->table, found[0]), wanted))
                return 1;
        }
    }
    *at = NOTHING;
    return 1;
}

/* Writes the record with *key*, and with nothing else if it was not sent along. */
static int
put_joined(Work *work, const Step *step, uint32_t key)
{
    uint32_t at, found[MEMBERS_MAX];
    int some = 0;
    TRY(look_up(work, step->source, step->record, key, &at, found));
    if (at == NOTHING) {
        memset(found, 0, sizeof found);
        found[0] = key;
    }
    return put_record(work, step->record, found, found, &some);
}

static int
put_items(Work *work, const Step *step, uint32_t array)
{
    TRY(is(&work->table, array, AN_ARRAY));
    uint32_t items = items_of(work, array), found[MEMBERS_MAX];
    int some = 0;
    if (!items)
        return put_byte(work, 0);
    TRY(put_long(work, items));
    for (uint32_t at = array + 1; at < work->table.values[array].next; at = work->table.values[at].next)
        switch (step->op) {
        case STRINGS: TRY(put_string(work, at)); break;
        case DOUBLES: TRY(put_double(work, at)); break;
        case JOINED_LIST: TRY(put_joined(work, step, at)); break;
        default:
            TRY(find_members(work, step->record, at, found));
            TRY(put_record(work, step->record, found, found, &some));
        }
    return put_byte(work, 0);
}

/* Finds where the text of a post, or what X found in it, stands in full: in its note if that has a text. */
static int
find_whole(const Work *work, const Step *step, const uint32_t *original, uint32_t *value)
{
    static const Slice text_name = {(const uint8_t *)"text", 4};
    uint32_t note = original[step->second], text;
    *value = original[step->slot];
    TRY(find_member(&work->table, note, text_name, &text));
    if (text != NOTHING && !is(&work->table, text, A_NULL)) {
        TRY(is(&work->table, text, A_STRING));
        if (bytes_of(&work->table, text).size)
            TRY(find_member(&work->table, note, step->path[0], value));
    }
    if (*value != NOTHING && is(&work->table, *value, A_NULL))
        *value = NOTHING;
    return 1;
}

/* Writes a record that may have nothing in it: then it is not there. */
static int
put_if_any(Work *work, const Step *step, uint32_t value, int *some)
{
    uint32_t found[MEMBERS_MAX];
    size_t before = work->size;
    int in_it = 0;
    if (value != NOTHING) {
        TRY(put_byte(work, 2) && find_members(work, step->record, value, found));
        TRY(put_record(work, step->record, found, found, &in_it));
    }
    if (in_it) {
        *some = 1;
        return 1;
    }
    work->size = before;
    return put_byte(work, 0);
}

/* Writes the post to which a reference refers, if it was sent along. */
static int
put_referenced(Work *work, const Step *step, uint32_t key, int *some)
{
    uint32_t at, found[MEMBERS_MAX];
    uint64_t id;
    int in_it = 0;
    TRY(key != NOTHING && look_up(work, step->source, step->record, key, &at, found));
    if (at == NOTHING)
        return put_byte(work, 0);
    *some = 1;
    TRY(find_id(work, found[0], &id) && put_byte(work, 2));
    return put_record(work, step->record, found, found, &in_it);
}

static int
put_made(Work *work, const uint32_t *found, uint32_t value)
{
    uint64_t id;
    if (value != NOTHING)
        return put_moment(work, value);
    TRY(find_id(work, found[0], &id));
    return put_long(work, (int64_t)(id >> SEQUENCE_BITS) + EPOCH_MS);
}

/* Writes the number at place `second` of a point, which has two. */
static int
put_item(Work *work, const Step *step, uint32_t array)
{
    TRY(is(&work->table, array, AN_ARRAY) && items_of(work, array) == 2 && step->second < 2);
    return put_double(work, step->second ? work->table.values[array + 1].next : array + 1);
}

static int
put_step(Work *work, const Step *step, const uint32_t *found, const uint32_t *original, int *some)
{
    uint32_t value = NOTHING;
    switch (step->op) {
    case ABSENT: return put_byte(work, 0);
    case RAW:
        *some = 1;
        return put_byte(work, 2) && put_bytes(work, work->table.line);
    case RULES: value = work->rules; break;
    case TEXT:
        *some = 1;
        TRY(find_whole(work, step, original, &value));
        return value == NOTHING ? put_byte(work, 0) : put_string(work, value);
    case WHOLE:
        TRY(find_whole(work, step, original, &value));
        return put_if_any(work, step, value, some);
    default: TRY(find_value(work, step, found, &value));
    }
    if (step->op == RECORD)
        return put_if_any(work, step, value, some);
    if (step->op == REFERENCED)
        return put_referenced(work, step, value, some);
    if (step->op == MADE) {
        *some = 1;
        return put_made(work, found, value);
    }
    if (step->op == STRINGS || step->op == DOUBLES || step->op == RECORDS || step->op == RULES ||
        step->op == JOINED_LIST) {
        if (value == NOTHING)
            return put_byte(work, 0);
        *some |= work->table.values[value].next > value + 1;
        return put_items(work, step, value);
    }
    if (value == NOTHING)
        return step->nullable && put_byte(work, 0);
    *some = 1;
    if (step->nullable)
        TRY(put_byte(work, 2));
    switch (step->op) {
    case STRING: return put_string(work, value);
    case LONG: return put_whole_number(work, value);
    case DOUBLE: return put_double(work, value);
    case BOOLEAN: return put_boolean(work, value);
    case MOMENT: return put_moment(work, value);
    case ITEM: return put_item(work, step, value);
    case JOINED: return put_joined(work, step, value);
    default: return 0;
    }
}

/* Writes a record of the members *found*, and sets *some* if it has any; *original* are those with the text of it. */
static int
put_record(Work *work, const Record *record, const uint32_t *found, const uint32_t *original, int *some)
{
    for (int i = 0; i < record->steps; i++)
        TRY(put_step(work, &record->step[i], found, original, some));
    return 1;
}

/* Finds the members of the post whose text the post with the members *found* has: of itself, or of a reposted one. */
static int
find_original(Work *work, const uint32_t *found, uint32_t *original)
{
    const Program *program = work->program;
    const Record *post = &program->record[program->records - 1], *reference = &program->record[program->reference];
    uint32_t array = found[program->references], it[MEMBERS_MAX], reposted[MEMBERS_MAX], other;
    memcpy(original, found, (size_t)post->members * sizeof *found);
    if (array == NOTHING)
        return 1;
    TRY(is(&work->table, array, AN_ARRAY));
    for (uint32_t at = array + 1; at < work->table.values[array].next; at = work->table.values[at].next) {
        TRY(find_members(work, reference, at, it));
        uint32_t type = it[program->type], key = it[program->id];
        TRY(type != NOTHING && is(&work->table, type, A_STRING) && !work->table.values[type].escaped && key != NOTHING);
        if (same(bytes_of(&work->table, type), (Slice){(const uint8_t *)"retweeted", 9})) {
            TRY(look_up(work, program->posts, post, key, &other, reposted));
            if (other != NOTHING) /* whether its id is one is found when it is written */
                memcpy(original, reposted, (size_t)post->members * sizeof *found);
        }
    }
    return 1;
}

/* Writes the post in the line; returns 0 for a line that X would not write, or if there is no memory. */
static int
put_post(Work *work)
{
    static const Slice names[] = {
        {(const uint8_t *)"data", 4}, {(const uint8_t *)"includes", 8}, {(const uint8_t *)"matching_rules", 14}};
    const Program *program = work->program;
    const Record *post = &program->record[program->records - 1];
    uint32_t data, includes, found[MEMBERS_MAX], original[MEMBERS_MAX];
    uint64_t id;
    int some = 0;

    TRY(read_line(&work->table));
    TRY(find_in(&work->table, 0, names[0], &data) && data != NOTHING);
    TRY(find_in(&work->table, 0, names[1], &includes) && find_in(&work->table, 0, names[2], &work->rules));
    for (int i = 0; i < program->sources; i++) {
        TRY(find_member(&work->table, includes, program->source[i], &work->sources[i]));
        TRY(work->sources[i] == NOTHING || is(&work->table, work->sources[i], AN_ARRAY));
    }
    TRY(find_members(work, post, data, found) && find_id(work, found[0], &id));
    TRY(find_original(work, found, original));
    return put_record(work, post, found, original, &some);
}

/* -- for Python */

#define CAPSULE "connector.formats.schemas._avro"

static PyObject *
write_post(PyObject *capsule, PyObject *argument)
{
    const Program *program = PyCapsule_GetPointer(capsule, CAPSULE);
    char *line;
    Work work = {.program = program};
    if (!program || PyBytes_AsStringAndSize(argument, &line, &work.table.line.size) < 0)
        return NULL;
    work.table.line.bytes = (const uint8_t *)line;
    PyObject *body = NULL;
    int written = work.table.line.size <= LOOKED_THROUGH_MAX && put_post(&work);
    if (work.table.no_memory)
        PyErr_NoMemory();
    else if (written)
        body = PyBytes_FromStringAndSize((const char *)work.out, (Py_ssize_t)work.size);
    else
        body = Py_NewRef(Py_None);
    free(work.table.values);
    free(work.out);
    return body;
}

static PyMethodDef write_post_method = {
    "write_post", write_post, METH_O,
    "write_post(line, /)\n--\n\nReturn the post in *line* in Avro's binary form; None if X would not write the line."};

static void
free_capsule(PyObject *capsule)
{
    free_program(PyCapsule_GetPointer(capsule, CAPSULE));
}

PyDoc_STRVAR(writer_doc, "writer(program, /)\n--\n\n"
                         "Return what writes the post in a line by the steps of *program*, or returns None.");

static PyObject *
writer(PyObject *module, PyObject *description)
{
    if (!PyTuple_Check(description))
        return PyErr_Format(PyExc_TypeError, "a tuple is needed");
    Program *program = PyMem_Calloc(1, sizeof *program);
    if (!program)
        return PyErr_NoMemory();
    program->description = Py_NewRef(description);
    PyObject *capsule = NULL;
    if (!read_program(program) || !(capsule = PyCapsule_New(program, CAPSULE, free_capsule))) {
        free_program(program);
        return NULL;
    }
    PyObject *made = PyCFunction_NewEx(&write_post_method, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

static PyMethodDef methods[] = {
    {"writer", writer, METH_O, writer_doc},
    {NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_avro", .m_doc = "Posts in Avro, in C.", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__avro(void)
{
    return PyModuleDef_Init(&definition);
}
