/* The pointwise part of one step of the masked LSTM, in float32: the equations are those of ../fused_lstm.py.
 *
 * Plain loops that a C compiler turns into vector instructions. Without -ffast-math, so NaN and infinity keep their
 * meaning. Sigmoid is within 1e-7 and tanh(x) = 2 sigmoid(2x) - 1 within 2e-7 of the true value, like PyTorch's own
 * and the pure path's. "ivdep": the columns j are independent, which spares a row its tests for overlapping arrays.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What does not change from step to step; mirrored by Sequence in lstm.py. Forward uses z to hidden, backward all but
 * hidden. */
typedef struct {
    int64_t B, H;
    const float *z;      /* (B, 4H), the masks of i, f, g, o, or NULL */
    float *s;            /* (T, B, 4H), i, f, g, o after the nonlinearity, before the mask */
    float *c;            /* (T + 1, B, H), c[t] enters step t */
    float *tanh_c;       /* (T, B, H) */
    float *hidden;       /* (T, B, H) */
    const float *dh;     /* (B, H), the gradient of the step's hidden state */
    float *carry;        /* (B, H), in: the gradient of c[t + 1] from later steps; out: that of c[t] */
    float *da;           /* (T, B, 4H), the gradient of the sums that enter the nonlinearities */
    float *dz;           /* (B, 4H), to which the step adds the gradient of z, or NULL */
} Sequence;

/* exp(x) for |x| <= 87, to 1e-7 relative: 2^n p(r) with x = n ln 2 + r, |r| <= ln 2 / 2 (Cephes' coefficients). */
static inline float exp_(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it leaves round(.) in the lowest bits */
    float n = x * 1.44269504f + shift, p, scale;
    int32_t bits;
    memcpy(&bits, &n, 4);
    n -= shift;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    bits = (int32_t)(((uint32_t)bits + 127u) << 23);
    memcpy(&scale, &bits, 4);
    return p * scale;
}

static inline float sigmoid(float x)
{
    x = x > 87.0f ? 87.0f : x; /* NaN stays NaN */
    x = x < -87.0f ? -87.0f : x;
    return 1.0f / (1.0f + exp_(-x));
}

static inline float tanh_(float x)
{
    return 2.0f * sigmoid(2.0f * x) - 1.0f;
}

/* One row of the batch: s enters as the sums and leaves as the gates. masked is a constant, once inlined. */
static inline void forward_row(
    const int64_t H, const int masked, const float *restrict z, float *restrict s, const float *restrict c,
    float *restrict c_next, float *restrict tanh_c, float *restrict hidden)
{
    float *restrict s_f = s + H, *restrict s_g = s + 2 * H, *restrict s_o = s + 3 * H;
#pragma GCC ivdep
    for (int64_t j = 0; j < H; j++) {
        float i = sigmoid(s[j]), f = sigmoid(s_f[j]), g = tanh_(s_g[j]), o = sigmoid(s_o[j]);
        s[j] = i, s_f[j] = f, s_g[j] = g, s_o[j] = o;
        if (masked)
            i *= z[j], f *= z[H + j], g *= z[2 * H + j], o *= z[3 * H + j];
        const float c_j = i * g + f * c[j], tanh_c_j = tanh_(c_j);
        c_next[j] = c_j;
        tanh_c[j] = tanh_c_j;
        hidden[j] = o * tanh_c_j;
    }
}

/* One row of the batch; masked and dz_too are constants, once inlined. */
static inline void backward_row(
    const int64_t H, const int masked, const int dz_too, const float *restrict z, const float *restrict s,
    const float *restrict c, const float *restrict tanh_c, const float *restrict dh, float *restrict carry,
    float *restrict da, float *restrict dz)
{
#pragma GCC ivdep
    for (int64_t j = 0; j < H; j++) {
        const float i = s[j], f = s[H + j], g = s[2 * H + j], o = s[3 * H + j];
        const float z_i = masked ? z[j] : 1.0f, z_f = masked ? z[H + j] : 1.0f;
        const float z_g = masked ? z[2 * H + j] : 1.0f, z_o = masked ? z[3 * H + j] : 1.0f;
        const float dh_o = dh[j] * tanh_c[j], dc = carry[j] + dh[j] * z_o * o * (1.0f - tanh_c[j] * tanh_c[j]);
        const float dc_f = dc * c[j], dc_ig = dc * z_i * z_g;
        da[j] = dc_ig * g * i * (1.0f - i);
        da[H + j] = dc_f * z_f * f * (1.0f - f);
        da[2 * H + j] = dc_ig * i * (1.0f - g * g);
        da[3 * H + j] = dh_o * z_o * o * (1.0f - o);
        carry[j] = dc * z_f * f;
        if (dz_too) {
            const float r = dc * i * g;
            dz[j] += z_g * r;
            dz[H + j] += dc_f * f;
            dz[2 * H + j] += z_i * r;
            dz[3 * H + j] += dh_o * o;
        }
    }
}

void lstm_forward(const Sequence *q, int64_t t)
{
    const int64_t H = q->H;
    for (int64_t b = 0; b < q->B; b++) {
        const int64_t now = (t * q->B + b) * H, next = now + q->B * H;
        float *s = q->s + 4 * now, *c = q->c + now, *tanh_c = q->tanh_c + now, *hidden = q->hidden + now;
        if (q->z)
            forward_row(H, 1, q->z + 4 * b * H, s, c, q->c + next, tanh_c, hidden);
        else
            forward_row(H, 0, NULL, s, c, q->c + next, tanh_c, hidden);
    }
}

void lstm_backward(const Sequence *q, int64_t t)
{
    const int64_t H = q->H;
    for (int64_t b = 0; b < q->B; b++) {
        const int64_t row = b * H, now = t * q->B * H + row;
        const float *s = q->s + 4 * now, *c = q->c + now, *tanh_c = q->tanh_c + now;
        const float *dh = q->dh + row;
        float *carry = q->carry + row, *da = q->da + 4 * now;
        if (!q->z)
            backward_row(H, 0, 0, NULL, s, c, tanh_c, dh, carry, da, NULL);
        else if (!q->dz)
            backward_row(H, 1, 0, q->z + 4 * row, s, c, tanh_c, dh, carry, da, NULL);
        else
            backward_row(H, 1, 1, q->z + 4 * row, s, c, tanh_c, dh, carry, da, q->dz + 4 * row);
    }
}
