// What device code calls of the driver: printf, assert, trap, malloc and free.
#include <cassert>
#include <cstdio>

extern "C" __global__ void print(int n, float x, const char* name) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    if (i % 3 == 0) printf("%d: %5.2f|%-6u|%06x|%c|%s|%lld|%p|100%%\n", i, x * i, (unsigned)i, i * 1000, 'A' + i % 26, name, (long long)i << 40, (void*)(16ull + i));
    else if (i % 3 == 1) printf("%d: %*d %.*e %g %lu %hd %+i %#o %zu\n", i, 6, -i, 3, (double)x, 0.5 * i, (unsigned long)-1, (short)i, i, 8 + i, sizeof(int));
    else printf("nothing to convert\n");
}

extern "C" __global__ void returned(int* out) { out[threadIdx.x] = printf("%s and %d\n", threadIdx.x & 1 ? "odd" : "even", (int)threadIdx.x); }

extern "C" __global__ void small(const int* x, int limit) { assert(x[blockIdx.x * blockDim.x + threadIdx.x] < limit); }

extern "C" __global__ void stop(int at) { if (threadIdx.x == at) __trap(); }

struct Node { int value; Node* next; };

extern "C" __global__ void lists(int* out, int n) {   // a list of i % n nodes for each thread, summed and freed
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    Node* head = nullptr;
    for (int k = 0; k < i % n; k++) head = new Node{k * i, head};
    int sum = 0;
    while (head) {
        sum += head->value;
        Node* next = head->next;
        delete head;
        head = next;
    }
    out[i] = sum;
}

extern "C" __global__ void greedy(int* out) {
    void* p = malloc(6 << 20);
    void* q = malloc(6 << 20);   // more than the heap has
    out[threadIdx.x] = (p != nullptr) + 2 * (q != nullptr);
    free(p);
    free(q);
}

extern "C" __global__ void free_of_another(char* p) { free(p + 8); }
