/*
 * The work on every post, in C: find its id in the line, count it by the rules that it matched, choose its partition,
 * write it into a record batch.
 *
 * Each function has a form in Python, which is used without this module; the tests compare both.  `heads` reads only
 * what is certainly a proper post.  For other lines it returns None; `connector.records.post` decides.  `count_ends`
 * counts the same as `connector.records.matches`; `split` gives the same as `connector.kafka.delivery.partitioner`;
 * `measure` and `join` give the same bytes as `connector.kafka.delivery.record_batch`.
 *
 * The functions take tuples, not lists.  Nobody can change a tuple, so they release the interpreter's lock while they
 * read or copy megabytes.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_json.h"

/* The lock is released only for more bytes: smaller work ends before another thread would run. */
static const Py_ssize_t WORTH_LETTING_GO_BYTES = 64 * 1024;

/* Allocates *count* items, at least one; returns NULL with an error. */
static void *
items_of(Py_ssize_t count, size_t size)
{
    void *items = (size_t)count < PY_SSIZE_T_MAX / size ? PyMem_Malloc(((size_t)count + 1) * size) : NULL;
    if (!items)
        PyErr_NoMemory();
    return items;
}

/* Adds *more*, which is not negative, to *total*; returns -1 with an error if that is too large. */
static int
grow(Py_ssize_t *total, Py_ssize_t more)
{
    if (more > PY_SSIZE_T_MAX - *total) {
        PyErr_SetString(PyExc_OverflowError, "too many bytes");
        return -1;
    }
    *total += more;
    return 0;
}

/* Reads item *place* of a tuple, which must be bytes; returns -1 with an error. */
static int
slice_at(PyObject *tuple, Py_ssize_t place, Slice *slice)
{
    char *bytes;
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, place), &bytes, &slice->size) < 0)
        return -1;
    slice->bytes = (const uint8_t *)bytes;
    return 0;
}

/* Fills *slices* from a tuple of bytes; returns their total size in bytes, or -1 with an error. */
static Py_ssize_t
slices_of(PyObject *tuple, Py_ssize_t count, Slice *slices)
{
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (slice_at(tuple, i, &slices[i]) < 0 || grow(&total, slices[i].size) < 0)
            return -1;
    return total;
}

/* -- JSON, only as much as is needed to tell that a line is a proper post */

#define SHALLOW 64
#define MAX_ID ((uint64_t)INT64_MAX)

/* The brackets that must close the open objects and arrays; on the heap only if there are more than in any post. */
typedef struct {
    uint8_t *closing;
    Py_ssize_t depth, room;
    uint8_t shallow[SHALLOW];
} Nesting;

/* Adds a bracket; returns -1 if there is no memory.  Does not need the interpreter's lock. */
static int
nest(Nesting *nesting, uint8_t closing)
{
    if (nesting->depth == nesting->room) {
        /* a line has no more levels than bytes, so this does not overflow */
        size_t room = 2 * (size_t)nesting->room;
        uint8_t *larger = realloc(nesting->closing == nesting->shallow ? NULL : nesting->closing, room);
        if (!larger)
            return -1;
        if (nesting->closing == nesting->shallow)
            memcpy(larger, nesting->shallow, SHALLOW);
        nesting->closing = larger;
        nesting->room = (Py_ssize_t)room;
    }
    nesting->closing[nesting->depth++] = closing;
    return 0;
}

/*
 * Finds the id of the post in *line*, as digits.  Returns 0 for a line that X would not write: it is not JSON, it has
 * no `data.id` or two of them, or the id is not a plain decimal number of 63 bits.
 */
static int
find_id(Slice line, Slice *id, Nesting *nesting)
{
    const uint8_t *p = line.bytes, *end = p + line.size;
    Py_ssize_t data_depth = 0;
    int has_data = 0, escaped;

    id->bytes = NULL;
    nesting->depth = 0;
value:
    p = skip_spaces(p, end);
    if (p >= end)
        return 0;
    switch (*p) {
    case '{':
        if (nest(nesting, '}') < 0)
            return 0;
        p = skip_spaces(p + 1, end);
        if (p < end && *p == '}')
            goto after;
        goto name;
    case '[':
        if (nest(nesting, ']') < 0)
            return 0;
        p = skip_spaces(p + 1, end);
        if (p < end && *p == ']')
            goto after;
        goto value;
    case '"': p = skip_string(p + 1, end, &escaped); break;
    default: p = skip_plain(p, end);
    }
    if (!p)
        return 0;
after:
    for (;;) {
        p = skip_spaces(p, end);
        if (!nesting->depth)
            return p == end && id->bytes;
        if (p >= end)
            return 0;
        if (*p == ',') {
            p = skip_spaces(p + 1, end);
            if (nesting->closing[nesting->depth - 1] == ']')
                goto value;
            goto name;
        }
        if (*p != nesting->closing[nesting->depth - 1])
            return 0;
        p++;
        if (--nesting->depth < data_depth)
            data_depth = 0;
    }
name:
    if (p >= end || *p != '"')
        return 0;
    {
        const uint8_t *name = p + 1;
        escaped = 0;
        if (!(p = skip_string(name, end, &escaped)) || escaped)
            return 0;
        Py_ssize_t size = p - 1 - name;
        p = skip_spaces(p, end);
        if (p >= end || *p != ':')
            return 0;
        p = skip_spaces(p + 1, end);
        if (nesting->depth == 1 && nesting->closing[0] == '}' && size == 4 && !memcmp(name, "data", 4)) {
            if (has_data || p >= end || *p != '{')
                return 0;
            has_data = 1;
            data_depth = 2;
        }
        else if (nesting->depth == 2 && data_depth == 2 && size == 2 && !memcmp(name, "id", 2)) {
            if (id->bytes || p >= end || *p != '"')
                return 0;
            id->bytes = p + 1;
            p = skip_digits(id->bytes, end);
            id->size = p - id->bytes;
            if (!id->size || id->size > MAX_DIGITS || *id->bytes == '0' || p >= end || *p != '"')
                return 0;
            p++;
            goto after;
        }
    }
    goto value;
}

PyDoc_STRVAR(heads_doc,
             "heads(lines, /)\n--\n\n"
             "Return the ids of the posts in *lines*, a tuple of bytes, as numbers and as digits.\n\n"
             "None if a line may be no proper post: it is not JSON, or has an id that X would not write.");

static PyObject *
heads(PyObject *module, PyObject *lines)
{
    if (!PyTuple_Check(lines))
        return PyErr_Format(PyExc_TypeError, "a tuple of bytes is needed");
    Py_ssize_t count = PyTuple_Size(lines);
    Slice *slices = items_of(count, 2 * sizeof(Slice));
    if (!slices)
        return NULL;
    Slice *ids = slices + count;
    PyObject *numbers = NULL, *keys = NULL, *result = NULL;
    Py_ssize_t total = slices_of(lines, count, slices);
    if (total < 0)
        goto done;

    int proper = 1;
    Nesting nesting;
    nesting.closing = nesting.shallow;
    nesting.room = SHALLOW;
    PyThreadState *let_go = total >= WORTH_LETTING_GO_BYTES ? PyEval_SaveThread() : NULL;
    for (Py_ssize_t i = 0; i < count && proper; i++)
        proper = find_id(slices[i], &ids[i], &nesting) && number_of(ids[i]) <= MAX_ID;
    if (nesting.closing != nesting.shallow)
        free(nesting.closing);
    if (let_go)
        PyEval_RestoreThread(let_go);
    if (!proper) {
        result = Py_NewRef(Py_None);
        goto done;
    }

    if (!(numbers = PyList_New(count)) || !(keys = PyList_New(count)))
        goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(number_of(ids[i]));
        if (!number || PyList_SetItem(numbers, i, number) < 0)
            goto done;
        PyObject *key = PyBytes_FromStringAndSize((const char *)ids[i].bytes, ids[i].size);
        if (!key || PyList_SetItem(keys, i, key) < 0)
            goto done;
    }
    result = PyTuple_Pack(2, numbers, keys);
done:
    Py_XDECREF(numbers);
    Py_XDECREF(keys);
    PyMem_Free(slices);
    return result;
}

/* -- the rules that a post matched */

#define MEMBER "\"matching_rules\""
#define MEMBER_BYTES ((Py_ssize_t)sizeof(MEMBER) - 1)
#define END_BYTES 4096

/* Says for each byte how far a window that begins with it may go back: until the byte meets its like in MEMBER. */
static void
find_steps(uint8_t *steps)
{
    memset(steps, MEMBER_BYTES, 256);
    for (uint8_t place = MEMBER_BYTES - 1; place > 0; place--)
        steps[(uint8_t)MEMBER[place]] = place;
}

/* Returns *line* from the last MEMBER on, which begins in the last END_BYTES; an empty slice if there is none. */
static Slice
end_of(Slice line, const uint8_t *steps)
{
    Py_ssize_t first = line.size > END_BYTES ? line.size - END_BYTES : 0;
    for (Py_ssize_t at = line.size - MEMBER_BYTES; at >= first; at -= steps[line.bytes[at]])
        if (line.bytes[at] == '"' && !memcmp(line.bytes + at, MEMBER, MEMBER_BYTES))
            return (Slice){line.bytes + at, line.size - at};
    return (Slice){line.bytes + line.size, 0};
}

/* Adds *posts* to the count of *end* in the dict *counts*; returns -1 with an error. */
static int
add_posts(PyObject *counts, Slice end, Py_ssize_t posts)
{
    int done = -1;
    PyObject *sum = NULL, *key = PyBytes_FromStringAndSize((const char *)end.bytes, end.size);
    if (!key)
        return -1;
    PyObject *before = PyDict_GetItemWithError(counts, key);
    Py_ssize_t count = before ? PyLong_AsSsize_t(before) : 0;
    if (!PyErr_Occurred() && grow(&count, posts) == 0 && (sum = PyLong_FromSsize_t(count)))
        done = PyDict_SetItem(counts, key, sum);
    Py_XDECREF(sum);
    Py_DECREF(key);
    return done;
}

PyDoc_STRVAR(count_ends_doc,
             "count_ends(lines, counts, /)\n--\n\n"
             "Add to the dict *counts* how many of *lines* have which end, from their last \"matching_rules\" on.\n\n"
             "b\"\" is for lines that have none near their end.");

/* Ends wait in a small table while lines with the same end come: most posts match one of a few rules. */
#define WAITING 64
#define ID_AT (MEMBER_BYTES + 12) /* amid the digits of the first rule's id */

static int
place_of(Slice end)
{
    uint64_t digits[2] = {0, 0};
    if (end.size >= ID_AT + (Py_ssize_t)sizeof(digits))
        memcpy(digits, end.bytes + ID_AT, sizeof(digits));
    return ((digits[0] ^ digits[1] * 31) + (uint64_t)end.size) * 0x9E3779B97F4A7C15u >> 58; /* the upper bits of 64 */
}

static PyObject *
count_ends(PyObject *module, PyObject *arguments)
{
    PyObject *lines, *counts;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyTuple_Type, &lines, &PyDict_Type, &counts))
        return NULL;
    uint8_t steps[256];
    find_steps(steps);
    struct { Slice end; Py_ssize_t posts; } waiting[WAITING] = {0};
    for (Py_ssize_t i = 0; i < PyTuple_Size(lines); i++) {
        Slice line;
        if (slice_at(lines, i, &line) < 0)
            return NULL;
        Slice end = end_of(line, steps);
        int place = place_of(end);
        Slice before = waiting[place].end;
        if (waiting[place].posts && (before.size != end.size || memcmp(before.bytes, end.bytes, end.size))) {
            if (add_posts(counts, before, waiting[place].posts) < 0)
                return NULL;
            waiting[place].posts = 0;
        }
        waiting[place].end = end;
        waiting[place].posts++;
    }
    for (int place = 0; place < WAITING; place++)
        if (waiting[place].posts && add_posts(counts, waiting[place].end, waiting[place].posts) < 0)
            return NULL;
    Py_RETURN_NONE;
}

/* -- Kafka's default partitioner (org.apache.kafka.common.utils.Utils.murmur2) */

static uint32_t
murmur2(Slice key)
{
    const uint32_t m = 0x5BD1E995;
    uint32_t digest = 0x9747B28C ^ (uint32_t)key.size;
    const uint8_t *p = key.bytes;
    Py_ssize_t left = key.size;
    for (; left >= 4; p += 4, left -= 4) {
        uint32_t word = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        word *= m;
        digest = digest * m ^ (word ^ word >> 24) * m;
    }
    if (left) {
        for (Py_ssize_t i = 0; i < left; i++)
            digest ^= (uint32_t)p[i] << 8 * i;
        digest *= m;
    }
    digest = (digest ^ digest >> 13) * m;
    return digest ^ digest >> 15;
}

PyDoc_STRVAR(split_doc,
             "split(keys, values, times_ms, count, /)\n--\n\n"
             "Return (partition, keys, values, times) for each of *count* partitions that gets some of the records.\n\n"
             "The partitions ascend.  The records of a partition keep their order.");

/* Returns (number, keys, values, times) of the records at the *count* *places*, or NULL with an error. */
static PyObject *
share_of(PyObject *const *columns, const Py_ssize_t *places, Py_ssize_t count, Py_ssize_t partition)
{
    PyObject *own[3] = {NULL, NULL, NULL}, *number = PyLong_FromSsize_t(partition), *packed = NULL;
    for (int column = 0; number && column < 3; column++) {
        if (!(own[column] = PyTuple_New(count)))
            break;
        for (Py_ssize_t i = 0; i < count; i++)
            PyTuple_SetItem(own[column], i, Py_NewRef(PyTuple_GetItem(columns[column], places[i])));
    }
    if (own[2])
        packed = PyTuple_Pack(4, number, own[0], own[1], own[2]);
    Py_XDECREF(number);
    for (int column = 0; column < 3; column++)
        Py_XDECREF(own[column]);
    return packed;
}

static PyObject *
split(PyObject *module, PyObject *arguments)
{
    PyObject *columns[3], *result = NULL;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(arguments, "O!O!O!n", &PyTuple_Type, &columns[0], &PyTuple_Type, &columns[1], &PyTuple_Type,
                          &columns[2], &count))
        return NULL;
    Py_ssize_t records = PyTuple_Size(columns[0]);
    if (count < 1 || count > INT32_MAX || PyTuple_Size(columns[1]) != records || PyTuple_Size(columns[2]) != records)
        return PyErr_Format(PyExc_ValueError, "columns of one length, and one partition at least, are needed");
    uint32_t *chosen = items_of(records, sizeof *chosen);
    Py_ssize_t *places = items_of(records, sizeof *places);
    Py_ssize_t *ends = PyMem_Calloc((size_t)count, sizeof *ends);
    if (!chosen || !places || !ends) {
        PyErr_NoMemory();
        goto done;
    }
    /* counting sort: each record and each partition is read a fixed number of times */
    for (Py_ssize_t i = 0; i < records; i++) {
        Slice key;
        if (slice_at(columns[0], i, &key) < 0)
            goto done;
        chosen[i] = (murmur2(key) & 0x7FFFFFFF) % (uint32_t)count;
        ends[chosen[i]]++;
    }
    for (Py_ssize_t partition = 0, start = 0; partition < count; partition++) {
        Py_ssize_t size = ends[partition];
        ends[partition] = start;
        start += size;
    }
    for (Py_ssize_t i = 0; i < records; i++)
        places[ends[chosen[i]]++] = i;

    if (!(result = PyList_New(0)))
        goto done;
    for (Py_ssize_t start = 0; start < records;) {
        Py_ssize_t partition = chosen[places[start]], end = ends[partition];
        PyObject *share = share_of(columns, places + start, end - start, partition);
        if (!share || PyList_Append(result, share) < 0) {
            Py_XDECREF(share);
            Py_CLEAR(result);
            break;
        }
        Py_DECREF(share);
        start = end;
    }
done:
    PyMem_Free(chosen);
    PyMem_Free(places);
    PyMem_Free(ends);
    return result;
}

/* -- records of a batch (kafka.apache.org/documentation/#record) */

static uint64_t
zigzag(int64_t number)
{
    return (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
}

static int
varint_bytes(int64_t number)
{
    int bytes = 1;
    for (uint64_t rest = zigzag(number); rest >>= 7; bytes++)
        ;
    return bytes;
}

static uint8_t *
put_varint(uint8_t *to, int64_t number)
{
    uint64_t rest = zigzag(number);
    for (; rest >> 7; rest >>= 7)
        *to++ = (uint8_t)(rest | 0x80);
    *to++ = (uint8_t)rest;
    return to;
}

typedef struct {
    Slice key, value;
    int64_t stamp;
} Record;

/* The size of a record after its length field, with its attributes and its number of headers, both 0. */
static Py_ssize_t
record_bytes(const Record *record, Py_ssize_t place)
{
    return 2 + varint_bytes(record->stamp) + varint_bytes(place) + varint_bytes(record->key.size) + record->key.size +
           varint_bytes(record->value.size) + record->value.size;
}

static uint8_t *
put_record(uint8_t *to, const Record *record, Py_ssize_t place)
{
    to = put_varint(to, record_bytes(record, place));
    *to++ = 0;
    to = put_varint(to, record->stamp);
    to = put_varint(to, place);
    to = put_varint(to, record->key.size);
    memcpy(to, record->key.bytes, (size_t)record->key.size);
    to = put_varint(to + record->key.size, record->value.size);
    memcpy(to, record->value.bytes, (size_t)record->value.size);
    to += record->value.size;
    *to++ = 0;
    return to;
}

/* Reads the record at *place*; its stamp is the milliseconds since *first_ms*.  Returns -1 with an error. */
static int
record_at(PyObject *keys, PyObject *values, PyObject *times, Py_ssize_t place, int64_t first_ms, Record *record)
{
    if (slice_at(keys, place, &record->key) < 0 || slice_at(values, place, &record->value) < 0)
        return -1;
    int64_t ms = PyLong_AsLongLong(PyTuple_GetItem(times, place));
    if (ms == -1 && PyErr_Occurred())
        return -1;
    if (first_ms < 0 ? ms > INT64_MAX + first_ms : ms < INT64_MIN + first_ms) {
        PyErr_SetString(PyExc_OverflowError, "the times of a record batch are too far apart");
        return -1;
    }
    record->stamp = ms - first_ms;
    return 0;
}

static int
columns(PyObject *arguments, PyObject **keys, PyObject **values, PyObject **times, Py_ssize_t *start, Py_ssize_t *last)
{
    if (!PyArg_ParseTuple(arguments, "O!O!O!nn", &PyTuple_Type, keys, &PyTuple_Type, values, &PyTuple_Type, times,
                          start, last))
        return -1;
    Py_ssize_t count = PyTuple_Size(*keys);
    if (PyTuple_Size(*values) != count || PyTuple_Size(*times) != count || *start < 0 || *start >= count) {
        PyErr_SetString(PyExc_ValueError, "keys, values and times of the same records are needed");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(measure_doc,
             "measure(keys, values, times_ms, start, max_bytes, /)\n--\n\n"
             "Return the number of records from *start* on with less than *max_bytes*, at least 1, and their bytes.");

static PyObject *
measure(PyObject *module, PyObject *arguments)
{
    PyObject *keys, *values, *times;
    Py_ssize_t start, max_bytes, size = 0, place = 0;
    if (columns(arguments, &keys, &values, &times, &start, &max_bytes) < 0)
        return NULL;
    int64_t first_ms = PyLong_AsLongLong(PyTuple_GetItem(times, start));
    if (first_ms == -1 && PyErr_Occurred())
        return NULL;
    for (Py_ssize_t count = PyTuple_Size(keys) - start; place < count; place++) {
        Record record;
        if (record_at(keys, values, times, start + place, first_ms, &record) < 0)
            return NULL;
        Py_ssize_t bytes = record_bytes(&record, place);
        bytes += varint_bytes(bytes);
        Py_ssize_t grown = size;
        if (grow(&grown, bytes) < 0)
            return NULL;
        if (place && grown >= max_bytes)
            break;
        size = grown;
    }
    return Py_BuildValue("nn", place, size);
}

PyDoc_STRVAR(join_doc,
             "join(keys, values, times_ms, start, stop, /)\n--\n\n"
             "Return the records from *start* to before *stop* in the form of a record batch.");

static PyObject *
join(PyObject *module, PyObject *arguments)
{
    PyObject *keys, *values, *times;
    Py_ssize_t start, stop, size = 0;
    if (columns(arguments, &keys, &values, &times, &start, &stop) < 0)
        return NULL;
    if (stop <= start || stop > PyTuple_Size(keys))
        return PyErr_Format(PyExc_ValueError, "there are no records from %zd to %zd", start, stop);
    Py_ssize_t count = stop - start;
    Record *records = items_of(count, sizeof(Record));
    if (!records)
        return NULL;
    PyObject *joined = NULL;
    int64_t first_ms = PyLong_AsLongLong(PyTuple_GetItem(times, start));
    if (first_ms == -1 && PyErr_Occurred())
        goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (record_at(keys, values, times, start + i, first_ms, &records[i]) < 0)
            goto done;
        Py_ssize_t bytes = record_bytes(&records[i], i);
        if (grow(&size, bytes + varint_bytes(bytes)) < 0)
            goto done;
    }
    joined = PyBytes_FromStringAndSize(NULL, size);
    if (!joined)
        goto done;
    uint8_t *to = (uint8_t *)PyBytes_AsString(joined);
    PyThreadState *let_go = size >= WORTH_LETTING_GO_BYTES ? PyEval_SaveThread() : NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        to = put_record(to, &records[i], i);
    if (let_go)
        PyEval_RestoreThread(let_go);
done:
    PyMem_Free(records);
    return joined;
}

static PyMethodDef methods[] = {
    {"heads", heads, METH_O, heads_doc},
    {"count_ends", count_ends, METH_VARARGS, count_ends_doc},
    {"split", split, METH_VARARGS, split_doc},
    {"measure", measure, METH_VARARGS, measure_doc},
    {"join", join, METH_VARARGS, join_doc},
    {NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "The work on every post, in C.", .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
