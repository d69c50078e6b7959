/* Several Fernet tokens at a time, for processors with AES and SHA instructions (x86-64).

   CBC encryption and HMAC-SHA256 are chains: each step needs the outcome of the one before, so one token leaves most of a core idle.
   Tokens are independent of each other: up to LANES of them are encrypted in step, and hashed two by two. The octets are those of
   protocol/fernet.py, which tests and a check at import compare (protocol/lanes.py).

   The rules: no table and no branch depends on a secret (all of it is AESENC, SHA256RNDS2 and their like); what derives from a key is wiped
   from its variables before a function returns (registers and what the compiler spills are not); the interpreter's lock is released while
   octets are worked on; no pointer leaves the buffers that were given.

   Sources: FIPS 197 (AES), SP 800-38A (CBC), FIPS 180-4 (SHA-256), RFC 2104 (HMAC), fernet/spec; Intel's Software Developer's Manual for the
   instructions. This file knows nothing of records and sessions. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cpuid.h>

#include "tokens.h"

#define MOST 64 /* tokens in one call */
#define LOCKED 2048 /* octets: for fewer, letting go of the interpreter costs more than the work */

typedef struct {
    uint8_t key[KEY];
    Py_buffer token, out; /* out.obj is NULL when there is none */
    Py_ssize_t plain;
} Job;

static void release(Job *jobs, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyBuffer_Release(&jobs[i].token);
        if (jobs[i].out.obj)
            PyBuffer_Release(&jobs[i].out);
    }
    wipe(jobs, (size_t)MOST * sizeof *jobs);
}

static int overlap(const Py_buffer *one, const Py_buffer *other)
{
    const uintptr_t a = (uintptr_t)one->buf, b = (uintptr_t)other->buf;
    return a < b + (uintptr_t)other->len && b < a + (uintptr_t)one->len;
}

/* What is written lies apart from all else of the call: what was found right is what is decrypted. */
static int apart(const Job *jobs, Py_ssize_t count, int sealing)
{
    for (Py_ssize_t i = 0; i < count; i++)
        for (Py_ssize_t j = 0; j < count; j++)
            if (sealing ? j < i && overlap(&jobs[i].token, &jobs[j].token)
                        : overlap(&jobs[i].out, &jobs[j].token) || (j < i && overlap(&jobs[i].out, &jobs[j].out)))
                return 0;
    return 1;
}

static int fits(const Job *job, int sealing)
{
    const Py_ssize_t cipher = job->token.len - HEAD - MAC;
    if (cipher < 16 || cipher % 16 || (sealing && (job->plain < 0 || job->plain >= cipher || cipher - job->plain > 16))) {
        PyErr_SetString(PyExc_ValueError, "not the length of a token");
        return 0;
    }
    if (sealing)
        return 1;
    if (job->out.len < cipher) {
        PyErr_SetString(PyExc_ValueError, "no room for the plaintext");
        return 0;
    }
    return 1;
}

/* Fills `jobs` from a sequence of tuples; how many, -1 with an exception set. */
static Py_ssize_t take(PyObject *argument, Job jobs[MOST], int sealing)
{
    PyObject *items = PySequence_Tuple(argument); /* of our own: converting an item may run code that changes a list */
    if (!items)
        return -1;
    const Py_ssize_t size = PyTuple_GET_SIZE(items);
    Py_ssize_t count = 0;
    if (size > MOST)
        PyErr_SetString(PyExc_ValueError, "too many at a time");
    for (; !PyErr_Occurred() && count < size; count++) {
        Job *job = &jobs[count];
        PyObject *item = PyTuple_GET_ITEM(items, count);
        const char *key;
        Py_ssize_t length;
        memset(job, 0, sizeof *job);
        if (!PyTuple_Check(item)) {
            PyErr_SetString(PyExc_TypeError, "a sequence of tuples is needed");
            break;
        }
        if (!(sealing ? PyArg_ParseTuple(item, "y#w*n", &key, &length, &job->token, &job->plain)
                      : PyArg_ParseTuple(item, "y#y*w*", &key, &length, &job->token, &job->out)))
            break;
        if (length != KEY)
            PyErr_SetString(PyExc_ValueError, "a token key has 32 octets");
        else if (fits(job, sealing))
            memcpy(job->key, key, KEY);
    }
    Py_DECREF(items);
    if (!PyErr_Occurred() && !apart(jobs, count, sealing))
        PyErr_SetString(PyExc_ValueError, "what is written overlaps");
    if (!PyErr_Occurred())
        return count;
    release(jobs, count);
    return -1;
}

static Py_ssize_t octets(const Job *jobs, Py_ssize_t count)
{
    Py_ssize_t sum = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        sum += jobs[i].token.len;
    return sum;
}

static PyObject *lanes_seal(PyObject *module, PyObject *argument)
{
    Job jobs[MOST];
    (void)module;
    const Py_ssize_t count = take(argument, jobs, 1);
    if (count < 0)
        return NULL;
    PyThreadState *thread = octets(jobs, count) < LOCKED ? NULL : PyEval_SaveThread();
    Lane lanes[LANES];
    for (Py_ssize_t first = 0; first < count; first += LANES) {
        const int n = count - first < LANES ? (int)(count - first) : LANES;
        for (int l = 0; l < n; l++) {
            const Job *job = &jobs[first + l];
            uint8_t *token = job->token.buf;
            const size_t padding = 16 - (size_t)job->plain % 16;
            memset(token + HEAD + job->plain, (int)padding, padding);
            set_up(&lanes[l], job->key, token, (size_t)job->token.len);
        }
        seal_lanes(lanes, n);
    }
    wipe(lanes, sizeof lanes);
    if (thread)
        PyEval_RestoreThread(thread);
    release(jobs, count);
    Py_RETURN_NONE;
}

static PyObject *lanes_open(PyObject *module, PyObject *argument)
{
    Job jobs[MOST];
    ptrdiff_t found[MOST];
    (void)module;
    const Py_ssize_t count = take(argument, jobs, 0);
    if (count < 0)
        return NULL;
    PyThreadState *thread = octets(jobs, count) < LOCKED ? NULL : PyEval_SaveThread();
    Lane lanes[LANES];
    for (Py_ssize_t first = 0; first < count; first += LANES) {
        const int n = count - first < LANES ? (int)(count - first) : LANES;
        uint8_t *out[LANES];
        for (int l = 0; l < n; l++) {
            const Job *job = &jobs[first + l];
            set_up(&lanes[l], job->key, job->token.buf, (size_t)job->token.len);
            out[l] = job->out.buf;
        }
        open_lanes(lanes, n, out, found + first);
    }
    wipe(lanes, sizeof lanes);
    if (thread)
        PyEval_RestoreThread(thread);
    release(jobs, count);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *number = PyLong_FromSsize_t((Py_ssize_t)found[i]);
        if (!number) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, number);
    }
    return list;
}

static int able(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AES) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

static PyMethodDef methods[] = {
    {"seal", lanes_seal, METH_O, "seal([(key, token, plain), ...]): pads, encrypts and signs each token where it lies."},
    {"open", lanes_open, METH_O, "open([(key, token, out), ...]) -> octets of each plaintext; -1: wrong MAC, -2: wrong padding."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_lanes", "Several Fernet tokens at a time. See protocol/lanes.py.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__lanes(void)
{
    if (!able()) {
        PyErr_SetString(PyExc_ImportError, "this processor has no AES and SHA instructions");
        return NULL;
    }
    __builtin_cpu_init();
    wide_aes = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vaes"); /* and the system keeps the registers */
    return PyModule_Create(&module);
}
